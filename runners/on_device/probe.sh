# Prints what this device is, or in which state it is, as key=value lines. For `sh -s MODE [ARGUMENT]`, with this text
# on stdin: any POSIX shell (dash, busybox, mksh), and nothing but the usual tools. What is not there is not printed.
#
#   device               what it is
#   conditions [WINDOW]  its state; WINDOW in seconds also counts what ran in two moments that far apart
#   userland [PYTHON]    what can be installed: Python, C library, free space

LC_ALL=C
PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export LC_ALL PATH

say() {
    if [ -n "$2" ]; then printf '%s=%s\n' "$1" "$2"; fi
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Sets $line to the first line of a file; no process is started for it.
read_line() {
    line=
    if [ -r "$1" ]; then IFS= read -r line <"$1" || :; fi
} 2>/dev/null

# Prints a file of the firmware, which ends with a NUL.
text_of() {
    if [ -r "$1" ]; then tr -d '\000' <"$1" 2>/dev/null | head -n 1; fi
}

model() {
    for file in /sys/firmware/devicetree/base/model /proc/device-tree/model; do
        say model "$(text_of "$file")"
    done
    if [ -r /proc/cpuinfo ]; then
        # Once each: x86 repeats them for every core, big.LITTLE has several parts.
        sed -n -e 's/^Model[[:space:]]*: /cpuinfo_model=/p' -e 's/^model name[[:space:]]*: /cpu_name=/p' \
            -e 's/^CPU implementer[[:space:]]*: /cpu_implementer=/p' \
            -e 's/^CPU part[[:space:]]*: /cpu_part=/p' /proc/cpuinfo | sort -u
    fi
    text=$( { tr '\000' ' ' </sys/firmware/devicetree/base/compatible; } 2>/dev/null)
    say compatible "$text"
}

cores() {
    for folder in /sys/devices/system/cpu/cpu[0-9]*; do
        if [ ! -d "$folder" ]; then continue; fi
        read_line "$folder/online"
        if [ "$line" = 0 ]; then continue; fi
        read_line "$folder/cpufreq/cpuinfo_max_freq"
        printf 'core=%s %s\n' "${folder##*/cpu}" "$line"
    done
    say processors "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
}

system() {
    say machine "$(uname -m)"
    say kernel "$(uname -r)"
    if [ -r /etc/os-release ]; then
        say os "$(. /etc/os-release && printf %s "$PRETTY_NAME")"
    fi
    if has sw_vers; then say os "$(sw_vers -productName) $(sw_vers -productVersion)"; fi
    if has sysctl && [ "$(uname -s)" = Darwin ]; then
        say cpu_name "$(sysctl -n machdep.cpu.brand_string)"
        say model "$(sysctl -n hw.model)"
        say memory_bytes "$(sysctl -n hw.memsize)"
    fi
}

# Runs a program of Android; some of them wait for a service, which may not answer.
bounded() {
    if has timeout; then timeout 3 "$@"; else "$@"; fi
} 2>/dev/null

# Prints properties of Android by their own names.
android() {
    if ! has getprop; then return; fi
    named='build\.version\.(release|sdk|security_patch)|build\.fingerprint|product\.(manufacturer|model|cpu\.abilist)'
    named="$named|soc\.model|hardware|hardware\.chipname|board\.platform|kernel\.qemu|boot\.qemu"
    bounded getprop | sed -nE "s/^\[(ro\.($named))\]: \[(.+)\]\$/\1=\5/p" | head -n 20 | cut -c 1-300
}

# Prints the state that Android's services tell; what they keep of earlier temperatures is left out.
android_state() {
    if ! has getprop || ! has dumpsys; then return; fi
    from='^[[:space:]]*Current temperatures from HAL:' to='^[[:space:]]*Current cooling'
    bounded dumpsys thermalservice | sed -n -e 's/^[[:space:]]*Thermal Status: /thermal_status=/p' \
        -e "/$from/,/$to/s/^.*Temperature{\(.*\)}.*\$/sensor=\1/p" | head -n 100 | cut -c 1-200
    bounded dumpsys battery | sed -n -e 's/^ *level: /battery_level=/p' -e 's/^ *scale: /battery_scale=/p' \
        -e 's/^ *temperature: /battery_temperature=/p' -e 's/^ *[A-Za-z]* powered: /powered=/p' | head -n 10 | cut -c 1-60
    bounded dumpsys power | sed -n -e 's/^ *mWakefulness=/wakefulness=/p' -e 's/^ *Display Power: state=/display=/p' \
        | head -n 4 | cut -c 1-60
    say low_power "$(bounded settings get global low_power | head -n 1 | cut -c 1-60)"
}

# An emulator shows in how this shell was started. It is asked from another process: qemu-user hides itself from the
# one that looks at /proc/self.
emulation() {
    say executable "$(readlink "/proc/$$/exe" 2>/dev/null)"
    say command_line "$( { tr '\000' ' ' <"/proc/$$/cmdline"; } 2>/dev/null | cut -c 1-200)"
}

memory() {
    if [ ! -r /proc/meminfo ]; then return; fi
    while read -r key value _; do
        case $key in
        MemTotal:) say memory_kib "$value" ;;
        MemAvailable:) say available_kib "$value" ;;
        esac
    done </proc/meminfo
}

clocks() {
    for folder in /sys/devices/system/cpu/cpu[0-9]*; do
        read_line "$folder/online"
        if [ "$line" = 0 ]; then continue; fi
        read_line "$folder/cpufreq/scaling_cur_freq"
        say clock "$line"
        read_line "$folder/cpufreq/scaling_max_freq"
        say clock_limit "$line"
        read_line "$folder/cpufreq/scaling_governor"
        say governor "$line"
    done
}

temperatures() {
    for folder in /sys/class/thermal/thermal_zone*; do
        read_line "$folder/type"
        kind=$line
        read_line "$folder/temp"
        if [ -n "$line" ]; then say zone "$line $kind"; fi
    done
}

throttling() {
    bits=
    if has vcgencmd; then
        bits=$(vcgencmd get_throttled 2>/dev/null)
        say vcgencmd_throttled "$bits"
        say vcgencmd_temperature "$(vcgencmd measure_temp 2>/dev/null)"
    fi
    if [ -z "$bits" ]; then # else not: some kernels complain of everyone who reads it
        read_line /sys/devices/platform/soc/soc:firmware/get_throttled
        say firmware_throttled "$line"
    fi
}

load() {
    read_line /proc/loadavg
    say load "${line%% *}"
}

activity() {
    if [ ! -r /proc/stat ]; then return; fi
    read_line /proc/stat
    first=$line
    sleep "$1" 2>/dev/null || sleep 1 # some know whole seconds only
    read_line /proc/stat
    say stat "$first"
    say stat "$line"
    say stat_cores "$(grep -c '^cpu[0-9]' /proc/stat)"
}

# $1: the interpreter.
python_facts() {
    found=$(command -v "$1" 2>/dev/null) || return 0
    "$found" -I -c '
import os, struct, sys, sysconfig
from importlib import util
print("python=" + sys.executable)
print("python_version=%d.%d.%d" % sys.version_info[:3])
print("python_bits=%d" % (8 * struct.calcsize("P")))
print("python_platform=" + sysconfig.get_platform())
print("python_venv=%d" % all(util.find_spec(name) for name in ("venv", "ensurepip")))
print("python_pip=%d" % (util.find_spec("pip") is not None))
try:
    print("glibc=" + (os.confstr("CS_GNU_LIBC_VERSION") or ""))
except (AttributeError, ValueError):
    pass
' 2>/dev/null || say python_broken "$found"
}

free_space() {
    if [ -d "$2" ]; then
        say "$1" "$(df -Pk "$2" 2>/dev/null | awk 'NR == 2 { print $4 }') $2"
    fi
}

device() {
    system
    android
    model
    cores
    memory
    emulation
}

conditions() {
    if [ -n "${1-}" ]; then activity "$1"; fi # first: what follows would be counted
    clocks
    temperatures
    throttling
    load
    memory
    android_state
}

userland() {
    say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
    python_facts "${1:-python3}"
    say home "$HOME"
    free_space free_home_kib "$HOME"
}

# Nothing that runs may read the rest of this text.
case ${1-} in
device | conditions | userland) "$@" </dev/null ;;
*)
    echo "probe.sh: expected device, conditions or userland. Received: ${1-}" >&2
    exit 2
    ;;
esac
echo end=probe
exit 0
