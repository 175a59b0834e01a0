//! What is run in the guest's shell. POSIX, as far as dash and busybox have it.

use crate::quoting::{Patterns, quote_path};

/// Finds a directory that only root writes to, in memory if there is one: a full disk is no reason that a command cannot run.
pub(super) const FIND_SCRATCH: &str = "for d in /run /dev/shm /tmp; do
  t=$d/kiln-agent-$$
  if [ -d $d ] && mkdir $t 2>/dev/null && mkfifo $t/f 2>/dev/null; then rm -rf $t; echo $d; exit 0; fi
  rm -rf $t 2>/dev/null
done
exit 1";

/// Runs a command: $1 is a directory that is made for it, $2 the command, $3 `in` where it is given input.
///
/// | file | what it is |
/// |---|---|
/// | `p` | the command's process, and its group where there is `setsid` |
/// | `o0`, `o1`, …; `e0`, … | pieces of its output. The next but one is not begun before a piece was emptied. |
/// | `i0`, `i0.k`, … | pieces of its input, each with a mark that it is whole; an empty one is the end |
/// | `x` | its status, as soon as it has ended |
///
/// What it prints itself is the status, when all output was kept. Without the directory it comes to its end, whoever took it away.
pub(super) const RUN: &str = r#"d=$1 c=$2
umask 077
mkdir "$d" 2>/dev/null || { rmdir "$d"; echo 'it was given up before it began' >&2; exit 1; }
cd "$d" && mkfifo fo fe || exit 1
nap=0.05; sleep $nap 2>/dev/null || nap=1
pump() {
  n=0
  while :; do
    dd of="$1$n" bs=65536 count=32 2>/dev/null || return 1
    [ -s "$1$n" ] || return 0
    n=$((n+1))
    if [ $n -ge 2 ]; then
      while [ -s "$1$((n-2))" ]; do sleep $nap; done
      rm -f "$1$((n-2))"
    fi
  done
}
feed() {
  n=0
  while :; do
    while [ ! -e "i$n.k" ]; do
      [ -e fo ] && [ ! -e x ] || return
      sleep $nap
    done
    [ -s "i$n" ] || return
    cat "i$n" || return
    rm -f "i$n" "i$n.k"
    n=$((n+1))
  done
}
pump o <fo & po=$!
pump e <fe & pe=$!
i=/dev/null
if [ "$3" = in ]; then mkfifo fi || exit 1; feed >fi 2>/dev/null & i=fi; fi
: "${HOME:=/root}" "${USER:=root}" "${LOGNAME:=root}" "${SHELL:=/bin/sh}"
export HOME USER LOGNAME SHELL
s=; command -v setsid >/dev/null 2>&1 && s=setsid
(umask 022; cd "$HOME" 2>/dev/null || cd /; exec $s /bin/sh -c "$c") <$i >fo 2>fe &
p=$!
echo $p >p
wait $p; code=$?
echo $code >x
kept=yes
wait $po || kept=
wait $pe || kept=
[ -n "$kept" ] || { echo 'its output cannot be kept: no space is left, or there is no dd' >&2; exit 1; }
echo $code"#;

/// Ends a command whose directory is $1, and forgets it. One that has not begun does not begin.
pub(super) const GIVE_UP: &str = r#"d=$1
mkdir "$d" 2>/dev/null && exit
nap=0.05; sleep $nap 2>/dev/null || nap=1
i=0
while [ -d "$d" ] && [ ! -s "$d/p" ] && [ $i -lt 100 ]; do sleep $nap; i=$((i+1)); done
p=$(cat "$d/p") && { kill -s TERM -- "-$p" || kill -s TERM "$p"; } 2>/dev/null
rm -rf "$d""#;

/// Forgets a command that has ended.
pub(super) const FORGET: &str = r#"rm -rf "$1""#;

/// Where a user's commands begin, and where paths that are not absolute lead from.
const AT_HOME: &str = ": \"${HOME:=/root}\"; export HOME; cd \"$HOME\" 2>/dev/null || cd /\n";

/// Makes `p` absolute.
const ABSOLUTE: &str = "case $p in /*) ;; *) p=$PWD/$p;; esac\n";

/// Prints `p`; the dot keeps line breaks at its end.
const TELL: &str = "printf '%s.' \"$p\"";

/// Makes an empty file of this mode called `name` beside the place of a file, and prints the absolute path of that place: where it is a
/// symbolic link, that which it leads to. What is there and no file is refused: a pipe would hold whoever opens it.
pub(super) fn make_beside(destination: &str, name: &str, mode: u32) -> String {
    let path = quote_path(destination, Patterns::Literal);
    format!(
        "{ENTRIES}{AT_HOME}p={path}\n{ABSOLUTE}{}f \"$p\" \"$q/{name}\" {:04o}\n{TELL}",
        "[ ! -d \"$p\" ] || { echo 'Is a directory' >&2; exit 1; }\n\
         if [ -L \"$p\" ]; then\n\
         l=$(readlink -f \"$p\" && echo .) || { echo 'it is a symbolic link that leads nowhere' >&2; exit 1; }\n\
         p=${l%??}\nfi\n\
         q=${p%/*}; [ -d \"${q:-/}\" ] || { echo 'No such file or directory' >&2; exit 1; }\n",
        mode & 0o7777
    )
}

/// Gives a file that is whole its name, as a line behind [`ENTRIES`].
pub(super) fn place(there: &str, path: &str) -> String {
    format!("m {} {}\n", literal(path), literal(there))
}

/// Removes a file if it is there.
pub(super) fn remove(path: &str) -> String {
    format!("rm -f {}", literal(path))
}

/// Removes all files below a directory whose names begin so.
pub(super) fn remove_below(root: &str, beginning: &str) -> String {
    format!("find {}/ -name '{beginning}*' -exec rm -f {{}} +", literal(root))
}

/// Ends a script, with what it has started, if it is still the one with `token` in its command line.
pub(super) fn kill(pid: i64, token: &str) -> String {
    format!("p=/proc/{pid}; grep -q {token} $p/cmdline && kill {pid} $(cat $p/task/{pid}/children)")
}

/// Makes a directory, whose parent must be there; with a `name`, below `destination` where that is one. Prints its absolute path.
pub(super) fn make_directory(destination: &str, name: Option<&str>) -> String {
    let path = quote_path(destination, Patterns::Literal);
    let below = name.map_or_else(String::new, |name| format!("[ ! -d \"$p\" ] || p=${{p%/}}/{}\n", literal(name)));
    format!("{AT_HOME}p={path}\n{ABSOLUTE}{below}[ -d \"$p\" ] || mkdir \"$p\" || exit 1\np=${{p%/}}; {TELL}")
}

/// Makes a directory of this mode, as a line behind [`ENTRIES`].
pub(super) fn enter_directory(path: &str, mode: u32) -> String {
    format!("d {} {:04o}\n", literal(path), (mode & 0o7777) | 0o700)
}

/// Makes an empty file of this mode, which is to have the name `path` later, as a line behind [`ENTRIES`].
pub(super) fn enter_file(path: &str, there: &str, mode: u32) -> String {
    format!("f {} {} {:04o}\n", literal(path), literal(there), mode & 0o7777)
}

/// What such lines need: `d` makes a directory, `f` a file beside the one that it becomes and of that one's owner, and `m` gives it its name.
pub(super) const ENTRIES: &str = r#"umask 077
d() { [ -d "$1" ] || mkdir "$1" || exit 1; chmod "$2" "$1" || exit 1; }
f() {
  [ ! -e "$1" ] || [ -f "$1" ] || { echo 'it is not a regular file' >&2; exit 1; }
  : >"$2" || exit 1
  [ ! -f "$1" ] || chown "$(stat -c %u:%g "$1")" "$2" 2>/dev/null
  chmod "$3" "$2" || exit 1
}
m() { [ ! -d "$1" ] || { echo 'Is a directory' >&2; exit 1; }; mv -f "$2" "$1" || exit 1; }
"#;

/// Prints the absolute path of a regular file.
pub(super) fn find_file(source: &str) -> String {
    let path = quote_path(source, Patterns::Literal);
    format!(
        "{AT_HOME}p={path}\n{ABSOLUTE}{}{TELL}",
        "[ -e \"$p\" ] || { echo 'No such file or directory' >&2; exit 1; }\n\
         [ ! -d \"$p\" ] || { echo 'it is a directory' >&2; exit 1; }\n\
         [ -f \"$p\" ] || { echo 'it is not a regular file' >&2; exit 1; }\n"
    )
}

/// Lists what a pattern matches, each with everything below it: records that end in NUL, of a letter, a mode in octal and a path. `n` gives
/// the name of what follows; `d` and `f` are directories and regular files, those above first.
pub(super) fn list(source: &str) -> String {
    let pattern = quote_path(source, Patterns::Expanded);
    format!(
        "{AT_HOME}{}for p in {pattern}; do\n{ABSOLUTE}{}done",
        "list='for f do t=f; [ -d \"$f\" ] && t=d; printf \"%s %s %s\\\\0\" $t \"$(stat -L -c %a \"$f\" 2>/dev/null || echo 0)\" \"$f\"; done'\n",
        "[ -e \"$p\" ] || { echo 'No such file or directory' >&2; exit 1; }\n\
         while :; do case $p in ?*/) p=${p%/};; *) break;; esac; done\n\
         n=${p##*/}; case $n in ''|.|..) n=$(cd \"$p\" && pwd -P); n=${n##*/};; esac\n\
         printf 'n 0 %s\\0' \"$n\"\n\
         find -L \"$p\" '(' -type d -o -type f ')' -exec sh -c \"$list\" sh {} + || exit 1\n"
    )
}

/// Quotes a word, whatever is in it.
fn literal(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
