#!/bin/sh
# install.sh [--prefix DIR] [--force]: installs Kiln below DIR: /usr/local for root, else ~/.local. DESTDIR is put before it.
# install.sh --uninstall [--prefix DIR]: removes what it installed, and nothing else. LIB/kiln/install.sh of the prefix does, too.
#
# What is installed is listed in lib/kiln/installed: `f FILE` and `d DIRECTORY THAT WAS MADE`, below the prefix, and `p DIRECTORY` for the
# prefix itself and what it lies in, where they were made.
set -eu
umask 022

fail() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || printf '\nhint: %s\n' "$2" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
prefix='' uninstall='' force=''
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; prefix=$2; shift ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        --uninstall) uninstall=yes ;;
        --force) force=yes ;;
        --help | -h) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
        *) fail "there is no option $1" "install.sh --help" ;;
    esac
    shift
done
if [ -z "$prefix" ]; then
    if [ ! -d "$here/bin" ] && [ -e "$here/installed" ]; then # the installed copy
        prefix=$(cd "$here/../.." && pwd)
        DESTDIR=
    elif [ "$(id -u)" = 0 ]; then
        prefix=/usr/local
    else
        prefix=${HOME:?}/.local
    fi
fi
case $prefix in
    *"
"*) fail "the prefix has a line break in it" ;;
    /*) ;;
    *) fail "the prefix $prefix is not absolute" ;;
esac
prefix=${prefix%/}
root=${DESTDIR:-}$prefix
list=$root/lib/kiln/installed

listed() { # listed KIND [LIST]
    [ ! -e "${2:-$list}" ] || sed -n "s/^$1 //p" "${2:-$list}"
}

if [ -n "$uninstall" ]; then
    [ -e "$list" ] || fail "nothing that this script installed is below $root" "--prefix names where it is"
    listed f | while read -r path; do rm -f "$root/$path" "$root/$path.kiln-new"; done
    made=$(listed d) above=$(listed p)
    rm -f "$list" "$list.kiln-new"
    # The deepest first; what holds other things stays.
    echo "$made" | sort -r | while read -r path; do [ -z "$path" ] || rmdir "$root/$path" 2>/dev/null || true; done
    echo "$above" | sort -r | while read -r path; do
        [ -z "$path" ] || case $prefix/ in "$path"/*) rmdir "${DESTDIR:-}$path" 2>/dev/null || true ;; esac
    done
    echo "Removed from $root. Jobs that run go on; ~/.local/state/kiln and ~/.cache/kiln of each person are left."
    exit 0
fi

[ -x "$here/bin/kiln" ] || fail "$here holds nothing to install" "unpack the whole archive, and run the install.sh in it"
if [ -z "${DESTDIR:-}" ] && [ -e "$here/glibc" ] && has=$(getconf GNU_LIBC_VERSION 2>/dev/null); then
    needs=$(cat "$here/glibc") has=${has##* }
    [ "$(printf '%s\n' "$needs" "$has" | sort -V | tail -n 1)" = "$has" ] ||
        fail "Kiln needs glibc $needs, and here is $has" "build it on this system: ./x package"
fi
files=$(cd "$here" && find bin lib share -type f | sort; echo lib/kiln/install.sh)
before=$(listed f)
in_the_way=$(echo "$files" | while read -r path; do
    [ ! -e "$root/$path" ] || echo "$before" | grep -qxF "$path" || echo "$root/$path"
done)
[ -z "$in_the_way" ] || [ -n "$force" ] ||
    fail "this is there, and this script did not install it: $(echo "$in_the_way" | head -n 3 | tr '\n' ' ')" \
        "remove it, or --force replaces it"

new=$(mktemp "${TMPDIR:-/tmp}/kiln-installed.XXXXXX")
forget() { # what did not get its final name
    echo "$files" | while read -r path; do rm -f "$root/$path.kiln-new"; done
    if [ ! -e "$list" ]; then
        listed d "$new" | sort -r | while read -r path; do rmdir "$root/$path" 2>/dev/null || true; done
        listed p "$new" | sort -r | while read -r path; do rmdir "${DESTDIR:-}$path" 2>/dev/null || true; done
    fi
    rm -f "$new"
}
trap forget EXIT
trap 'exit 1' HUP INT TERM

make_prefix() { # make_prefix PATH: the prefix, and what it lies in; notes what was not there
    [ -n "$1" ] && [ ! -d "${DESTDIR:-}$1" ] || return 0
    make_prefix "${1%/*}"
    mkdir -p "${DESTDIR:-}$1" || fail "cannot make the directory ${DESTDIR:-}$1" "another --prefix, or as root"
    echo "p $1" >>"$new"
}

service() { # service FILE: a unit, or what starts a name on the bus, with the programs where they are
    programs=$prefix/bin units=$prefix/bin bus=$prefix/bin close=''
    case $programs in
        *[!A-Za-z0-9/._@+-]*)
            quoted=$(printf '%s' "$programs" | sed 's/[\\"]/\\&/g')
            # By env: systemd takes no such name for a program, but for an argument. A file of the bus has its backslashes doubled.
            units="/usr/bin/env \"$(printf '%s' "$quoted" | sed 's/[%$]/&&/g')"
            bus="\"$(printf '%s' "$quoted" | sed 's/\\/&&/g')"
            close='"'
            ;;
    esac
    while IFS= read -r line; do
        case $line in
            ExecStart=/usr/bin/kiln*) begin=ExecStart=$units ;;
            Exec=/usr/bin/kiln*) begin=Exec=$bus ;;
            *) printf '%s\n' "$line"; continue ;;
        esac
        words=${line#*=/usr/bin/}
        printf '%s\n' "$begin/${words%% *}$close ${words#* }"
    done <"$1"
}

make_directory() { # make_directory PATH: below the root; notes what was not there
    [ ! -d "$root/$1" ] || return 0
    case $1 in */*) make_directory "${1%/*}" ;; esac
    mkdir -p "$root/$1" || fail "cannot make the directory $root/$1" "another --prefix, or as root"
    echo "d $1" >>"$new"
}

listed d | sed 's/^/d /' >>"$new"
listed p | sed 's/^/p /' >>"$new"
make_prefix "$prefix"
for path in $files lib/kiln/installed; do make_directory "${path%/*}"; done
# Before anything is there, so that an installation that is cut off can be removed, too.
{ cat "$new"; { echo "$before"; echo "$files"; } | sed -n 's/^./f &/p' | sort -u; } >"$list.kiln-new"
sync "$list.kiln-new"
mv -f "$list.kiln-new" "$list"

for path in $files; do
    to=$root/$path.kiln-new
    case $path in
        lib/kiln/install.sh) cp "$here/install.sh" "$to" ;;
        *.service) service "$here/$path" >"$to" ;;
        *) cp "$here/$path" "$to" ;;
    esac
    case $path in bin/* | *.sh) chmod 755 "$to" ;; *) chmod 644 "$to" ;; esac
done
sync -f "$root"
for path in $files; do mv -f "$root/$path.kiln-new" "$root/$path"; done
echo "$before" | while read -r path; do
    [ -z "$path" ] || echo "$files" | grep -qxF "$path" || rm -f "$root/$path"
done
{ cat "$new"; echo "$files" | sed 's/^/f /'; } >"$list.kiln-new"
sync "$list.kiln-new"
mv -f "$list.kiln-new" "$list"
echo "Installed below $root. $prefix/lib/kiln/install.sh --uninstall removes it."
case :$PATH: in *":$prefix/bin:"*) ;; *) echo "$prefix/bin is not on the PATH." ;; esac
