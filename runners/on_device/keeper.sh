# shellcheck shell=ksh disable=SC2086 # lists are lines, and are split where they are not quoted
# The program that holds a phone while it is measured: what keeper.py does, for Android's shell (mksh R50 or later) and
# nothing beside it but mkdir, rm, mv, chmod and (where the shell has none) sleep. Android 7 to 15 have these.
#
#   sh -c "$(cat keeper.sh)" keeper --owner TEXT [--allow-s 60] [--pin performance] [--folder /data/local/tmp]
#
# It ends when its stdin is closed, when it gets `end`, or when nothing came for the time it was last allowed (a line
# with a number of seconds). A folder of its own, mnet-bench-PID-STARTTIME, is both its lock and the place of all that
# belongs to the session: as long as the process of that number and start time is alive, nobody else measures. What a
# keeper that was killed has left, the next one puts right. Standard output is JSON Lines, as of keeper.py; `refused` has
# the kind busy, governor, noexec or system.
#
# Beware: mksh writes here-documents to a file, so that none works while the storage is full; and QEMU makes up
# what a process reads of itself in /proc, so that a child has to read it.

prefix=mnet-bench-
owner='' allow_s=60 pin='' place=/data/local/tmp cpu_folder=/sys/devices/system/cpu
folder='' ready='' refusal='' why=stopped
tries=20 pause_s=0.05
newline='
'
IFS=$newline # lists are lines
LC_ALL=C
export LC_ALL
umask 077

# Sets $json to a text as a JSON string; what is not printable ASCII becomes a question mark.
to_json() {
    rest=$1 json='"'
    while [ -n "$rest" ]; do
        character=${rest%"${rest#?}"}
        rest=${rest#?}
        case $character in
        '"' | \\) json=$json\\$character ;;
        [\ -\~]) json=$json$character ;;
        *) json=$json'?' ;;
        esac
    done
    json=$json'"'
}

# Sets $json to a JSON list of texts.
to_json_list() {
    list=''
    for text; do
        to_json "$text"
        list=${list:+$list, }$json
    done
    json=[$list]
}

# Nobody may be listening any more: that must not keep it from cleaning up.
emit() {
    print -r -- "$1"
} 2>/dev/null

refuse() {
    to_json "$2"
    refusal="{\"event\": \"refused\", \"kind\": \"$1\", \"message\": $json}"
    finish 1
}

# The message of a tool, without what it says before the reason.
refuse_system() {
    refuse system "$place cannot be used: ${1##*: }"
}

# Prints when a process was started, in the system's clock ticks; nothing for one that has ended. For $(...) alone.
start_of() {
    IFS= read -r line <"/proc/$1/stat" || return
    IFS=' '
    set -- ${line##*) } # what is behind the program's name, which may hold anything: its state first
    case $1 in
    Z | X) ;;
    *) print -r -- "${20}" ;;
    esac
} 2>/dev/null

# Whether the keeper that made a folder is alive; its number may be another program's by now.
is_held() {
    name=${1##*/"$prefix"}
    case $name in
    *[!0-9-]* | -* | *-*-* | *-) return 1 ;;
    *-*) [ "$(start_of "${name%-*}")" = "${name#*-}" ] ;;
    *) return 1 ;;
    esac
}

# Sets $holder to the owner of a folder that somebody else holds, if there is one.
find_holder() {
    for other in "$place/$prefix"*; do
        if [ -d "$other" ] && [ "$other" != "$folder" ] && is_held "$other"; then
            { holder=$(<"$other/owner"); } 2>/dev/null
            holder=${holder:-another session}
            return 0
        fi
    done
    return 1
}

# Makes the folder, if nobody else holds the phone. Two that start together see each other, and both step back.
take() {
    started=$(start_of $$)
    [ -n "$started" ] || refuse system "/proc/$$/stat does not say when a process was started"
    for attempt in 1 2 3 4 5; do
        if find_holder; then
            [ "$attempt" != 1 ] || break
        else
            folder=$place/$prefix$$-$started
            problem=$(mkdir "$folder" 2>&1) || refuse_system "$problem"
            problem=$({ print -r -- "$owner" >"$folder/owner"; } 2>&1) || refuse_system "$problem"
            find_holder || return
            rm -rf "$folder"
            folder=''
        fi
        sleep "0.$RANDOM" || sleep 1
    done 2>/dev/null
    refuse busy "${holder:0:200}"
}

# Programs must be able to run from the folder; a script has to be allowed to exactly as they have.
require_programs_to_run() {
    problem=$({ print -r -- "#!$(command -v sh)" >"$folder/may-run" && chmod 700 "$folder/may-run"; } 2>&1) ||
        refuse_system "$problem"
    if ! "$folder/may-run" </dev/null >/dev/null 2>&1; then
        refuse noexec "programs cannot be run from $place on this phone: it is mounted with noexec, or the phone's \
security policy forbids it; use another phone"
    fi
    rm -f "$folder/may-run"
}

governor_of() {
    governor=''
    if [ -r "$1" ]; then IFS= read -r governor <"$1"; fi
} 2>/dev/null

# Writes it and reads it back: some kernels ignore it without an error.
set_governor() {
    governor_of "$1"
    if [ "$governor" != "$2" ] && [ -e "$1" ]; then
        print -r -- "$2" >"$1"
        governor_of "$1"
    fi
    [ "$governor" = "$2" ]
} 2>/dev/null

pin_governors() {
    set -- "$cpu_folder"/cpu[0-9]*/cpufreq/scaling_governor
    [ -e "$1" ] || refuse governor 'this phone shows no governor to set; run without --pin'
    for path; do
        governor_of "$path"
        if [ -n "$governor" ]; then print -r -- "$governor$newline$path"; fi
    done >"$folder/governors.part"
    problem=$({ print -r -- whole >>"$folder/governors.part"; } 2>&1) || refuse_system "$problem"
    problem=$(mv "$folder/governors.part" "$folder/governors" 2>&1) || refuse_system "$problem"
    for path; do
        if ! set_governor "$path" "$pin"; then
            failed=''
            restore_governors "$folder"
            refuse governor "$path cannot be set to $pin; that needs root; run without --pin${failed:+; \
$failed could not be set back}"
        fi
    done
}

# Sets back what the record of a folder says; adds to $failed, a line each, what could not be set back.
restore_governors() {
    record=$1/governors
    [ -e "$record" ] || return 0
    { noted=$(<"$record"); } 2>/dev/null
    still=''
    case $noted in
    *whole)
        for each in ${noted%whole}; do
            case $each in
            /*) set_governor "$each" "$before" || still=$still$each$newline ;;
            *) before=$each ;; # it stands in the line before the path
            esac
        done
        ;;
    *)
        failed=$failed"$record is damaged: what the governor was is not known"$newline
        rm -f "$record"
        return
        ;;
    esac
    failed=$failed$still
    [ -n "$still" ] || rm -f "$record"
}

# Kills the processes that have a folder in their command line; succeeds once none is left.
stop_running_from() {
    left=''
    for process in /proc/[0-9]*; do
        { command=$(<"$process/cmdline"); } 2>/dev/null
        case $command in
        *"$1"*)
            if [ "${process#/proc/}" != $$ ]; then
                left=1
                kill -KILL "${process#/proc/}" 2>/dev/null
            fi
            ;;
        # It is just being started; what has ended, and the kernel's own, have no program.
        '') if [ -e "$process/exe" ]; then left=1; fi ;;
        esac
    done
    [ -z "$left" ]
}

# Removes a folder; if there is a record of governors in it still, all but that.
remove() {
    if [ ! -e "$1/governors" ]; then
        rm -rf "$1" 2>/dev/null
        return
    fi
    for entry in "$1"/* "$1"/.[!.]*; do
        if [ "$entry" != "$1/governors" ]; then rm -rf "$entry" 2>/dev/null; fi
    done
}

put_right() {
    try=0
    # It dies a moment later, and a shell may just have started another one.
    until stop_running_from "$1" || [ $try = $tries ]; do
        try=$((try + 1))
        sleep $pause_s || sleep 1
    done 2>/dev/null
    restore_governors "$1"
    try=0
    # Somebody may just be copying into it.
    until remove "$1" || [ $try = $tries ]; do
        try=$((try + 1))
        sleep $pause_s || sleep 1
    done 2>/dev/null
}

# Puts right what keepers that were killed have left, as far as it is this user's.
sweep() {
    swept='' failed=''
    for other in "$place/$prefix"*; do
        if [ -d "$other" ] && [ ! -h "$other" ] && [ -O "$other" ] && ! is_held "$other"; then
            put_right "$other"
            swept=$swept$other$newline
        fi
    done
}

# Ends it, whatever was begun: with an exit status.
finish() {
    trap '' HUP INT TERM
    trap - EXIT
    failed=''
    if [ -n "$folder" ]; then put_right "$folder"; fi
    to_json_list $failed
    if [ -n "$refusal" ]; then
        emit "$refusal"
    elif [ -n "$ready" ]; then
        emit "{\"event\": \"end\", \"why\": \"$why\", \"not_restored\": $json}"
    fi
    exit "$1"
}

# Sets $why it is over: `end`, `closed` or `silent`; what is neither a number nor `end` ends it, too.
wait_for_the_end() {
    while since=$SECONDS; IFS= read -r -t "$allow_s" line 2>/dev/null; do
        case $line in
        end)
            why=end
            finish 0
            ;;
        *e+*) allow_s=999999 ;; # so is a million seconds and more written
        *[!0-9.]* | '' | *.*.* | .) finish 1 ;;
        *) allow_s=$line ;;
        esac
    done
    # At the end of the input and after silence alike, the status of older ones is 1.
    if [ $((SECONDS - since)) -ge "${allow_s%%.*}" ]; then why=silent; else why=closed; fi
    finish 0
}

trap '' PIPE
trap 'finish 129' HUP
trap 'finish 130' INT
trap 'finish 143' TERM
trap 'finish 1' EXIT
while [ $# -gt 1 ]; do
    case $1 in
    --owner) owner=$2 ;;
    --allow-s) allow_s=$2 ;;
    --pin) pin=$2 ;;
    --folder) place=${2%/} ;;
    --cpu-folder) cpu_folder=$2 ;;
    *) refuse system "the keeper knows no option $1" ;;
    esac
    shift 2
done
take
sweep
require_programs_to_run
if [ -n "$pin" ]; then pin_governors; fi
to_json "$folder"
known="\"folder\": $json, \"pid\": $$"
to_json_list $swept
known="$known, \"swept\": $json"
to_json_list $failed
ready=1
emit "{\"event\": \"ready\", $known, \"not_restored\": $json}"
wait_for_the_end
