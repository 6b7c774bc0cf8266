/* Loads an engine's library. */
#include "engine.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

void *load_library(const char *engine, const char *file, const char *package) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        return library;
    const char *reason = dlerror();
    /* The loader says the same of a library that is missing and of one that its library misses: the name tells. */
    size_t length = strlen(file);
    bool absent = strncmp(reason, file, length) == 0 && strstr(reason + length, "No such file") != NULL;
    if (absent && (strchr(file, '/') == NULL || access(file, F_OK) != 0))
        refuse("engine_missing", "%s. Expected the C library of the package %s; give it as --library %s=FILE", reason,
               package, engine);
    refuse("engine_broken", "%s", reason);
}

void *require_symbol(void *library, const char *name, const char *written_for) {
    void *found = dlsym(library, name);
    if (found == NULL)
        refuse("engine_broken", "binary and library of different versions: this program was written for %s, and the "
               "library has no %s", written_for, name);
    return found;
}
