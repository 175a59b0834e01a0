#!/bin/bash
# A stand-in for VBoxManage, for tests of what goes wrong and of what is called: it runs no guest. Its registry is in files, and a
# machine that "runs" is a process that waits.
D='@DIR@'
printf '%s\n' "$*" >> "$D/calls"
echo "$LC_ALL" > "$D/locale"
die() { echo "VBoxManage: error: $1" >&2; exit 1; }
key=$1; case "$1" in controlvm | snapshot) key=$3 ;; esac
if [ -e "$D/break/$key" ]; then
  read -r how < "$D/break/$key"
  case "$how" in
    zero) echo 'VBoxManage: error: out of luck' >&2; exit 0 ;;
    garbage) printf '\377\376garbage\n"=\n'; exit 0 ;;
    long) for ((i = 0; i < 20000; i++)); do echo "\"a machine with a long name, of which there are many\" {11111111-0000-0000-0000-$i}"; done; exit 0 ;;
    hang) exec sleep 300 ;;
    slow) trap "exit 130" INT; sleep 3 ;; # and then it works, unless it was asked to stop
    noted) touch "$D/noted"; exec sleep 300 ;;
    killed) kill -9 $$ ;;
    *) die "$how" ;;
  esac
fi
case "$1" in list | showvminfo) ;; *)
  # The nth call from now on that changes something.
  [ -e "$D/fails" ] && { left=$(($(<"$D/fails") - 1)); echo "$left" > "$D/fails"; [ "$left" = 0 ] && die 'out of luck'; }
esac
none() { # none NAME: there is no such machine
  die "Could not find a registered machine named '$1'
VBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap, interface IVirtualBox"
}
machine() { # sets m to the directory of the machine that is named
  for m in "$D"/vms/*; do
    [ -d "$m" ] || continue
    if [ "${m##*/}" = "$1" ] || [ "$(<"$m/name")" = "$1" ]; then return; fi
  done
  none "$1"
}
state() { # the state of $m
  local now; now=$(<"$m/state")
  if [ "$now" = running ] || [ "$now" = gurumeditation ]; then
    # One that is dead and not waited for yet is a zombie.
    case "$(cat "/proc/$(<"$m/pid")/stat" 2>/dev/null)" in '' | *') Z '*) now=aborted ;; esac
  fi
  echo "$now"
}
option() { # option NAME WORDS...: the word behind NAME
  local name=$1; shift
  while [ $# -gt 0 ]; do [ "$1" = "$name" ] && { printf '%s' "$2"; return; }; shift; done
}
has() { local name=$1; shift; for word; do [ "$word" = "$name" ] && return; done; return 1; }
register() { # register UUID NAME BASE
  local file=${2//[:\/*?\"<>|&\$]/_}
  mkdir -p "$3/$file"
  [ -e "$3/$file/$file.vbox" ] && die "Machine settings file '$3/$file/$file.vbox' already exists"
  mkdir -p "$D/vms/$1/is"; touch "$3/$file/$file.vbox"
  echo "$2" > "$D/vms/$1/name"; echo poweroff > "$D/vms/$1/state"; echo "$3/$file/$file.vbox" > "$D/vms/$1/cfg"
  m=$D/vms/$1; settings
}
settings() { # writes the file of $m; with `unreadable` one that tells nothing
  local file; file=$(<"$m/cfg"); [ -e "$file" ] || return 0
  [ -e "$D/unreadable" ] && { echo settings > "$file"; return; }
  is() { cat "$m/is/$1" 2>/dev/null || echo "$2"; }
  printf '<VirtualBox version="1.19-linux"><Machine uuid="{%s}"><Hardware><RemoteDisplay authType="%s"><VRDEProperties>
<Property name="TCP/Address" value="%s"/><Property name="TCP/Ports" value="%s"/></VRDEProperties></RemoteDisplay></Hardware></Machine></VirtualBox>\n' \
    "${m##*/}" "$(is vrdeauthtype null)" "$(is vrdeaddress '')" "$(is vrdeports 3389)" > "$file"
}
fact() { printf '%s' "$2" > "$m/is/$1"; } # fact NAME VALUE: what $m is like from now on
case "$1" in
  --version) if [ -e "$D/version" ]; then cat "$D/version"; else echo 7.2.4_Fake; fi ;;
  list)
    case "$2" in
      vms) for m in "$D"/vms/*; do [ -d "$m" ] && echo "\"$(<"$m/name")\" {${m##*/}}"; done ;;
      bridgedifs) printf 'Name:            eth0\nGUID:            1\nVBoxNetworkName: HostInterfaceNetworking-eth0\n' ;;
      hostonlyifs) cat "$D/hostonlyifs" 2>/dev/null ;;
      hdds) cat "$D/hdds" 2>/dev/null ;;
      extpacks)
        if [ -e "$D/extpacks" ]; then cat "$D/extpacks"
        else printf 'Extension Packs: 1\nPack no. 0:   Oracle VirtualBox Extension Pack\nVRDE Module:    VBoxVRDP\nUsable:         true\n'; fi ;;
      ostypes) printf 'ID:          Other\nDescription: Other/Unknown\n\nID:          Debian_64\n' ;;
      systemproperties) echo "Default machine folder:          $D/machines"; echo "Default Guest Additions ISO:     $D/additions.iso" ;;
    esac; true ;;
  createvm)
    base=$(option --basefolder "$@"); name=$(option --name "$@"); kind=$(option --ostype "$@")
    [ "$kind" = Bogus ] && die "Guest OS type 'Bogus' is invalid"
    if has --register "$@"; then register "$(option --uuid "$@")" "$name" "${base:-$D/machines}"
    else mkdir -p "$base/$name"; echo '<Machine><Display controller="VMSVGA" VRAMSize="16"/></Machine>' > "$base/$name/$name.vbox"; fi ;;
  import)
    [ -e "$2" ] || die "Failed to open the OVF file '$2'"
    new=$(</proc/sys/kernel/random/uuid)
    register "$new" "$(option --vmname "$@")" "$(option --basefolder "$@")"
    [ -e "$D/brings" ] && cp "$D/brings" "$D/vms/$new/facts"; true ;;
  clonevm) machine "$2"; register "$(option --uuid "$@")" "$(option --name "$@")" "$(option --basefolder "$@")" ;;
  modifyvm)
    machine "$2"
    [ "$(option --uartmode1 "$@")" = file ] && echo "${@: -1}" > "$m/uart"
    shift 2
    while [ $# -gt 0 ]; do
      case "$1" in
        --vrde | --vrdeaddress | --vrdeauthtype | --nic1) fact "${1#--}" "$2" ;;
        --vrdeport) fact vrdeports "$2" ;;
        --nat-localhostreachable1) fact localhostReachable "$([ "$2" = on ]; echo $((! $?)))" ;;
        --natpf1)
          if [ "$2" = delete ]; then
            case "$(cat "$m/is/Forwarding(0)" 2>/dev/null)" in "$3,"*) rm "$m/is/Forwarding(0)" ;; *) die "Invalid argument value" ;; esac
            shift
          else
            [ -e "$m/is/Forwarding(0)" ] && die "A NAT rule of this name already exists"
            fact 'Forwarding(0)' "$2"
          fi ;;
      esac
      shift
    done
    settings ;;
  startvm)
    machine "$2"
    [ "$(state)" = running ] && die "The machine '$2' is already locked by a session (or being locked or unlocked)"
    [ -e "$D/idle" ] && { echo "VM \"$2\" has been successfully started."; exit 0; } # and nothing runs
    [ -e "$m/uart" ] && echo 'the guest says hello' > "$(<"$m/uart")"
    folder=$(dirname "$(<"$m/cfg")")
    [ -d "$folder" ] && mkdir -p "$folder/Logs" && echo 'the log begins' > "$folder/Logs/VBox.log"
    [ -e "$D/brief" ] && exit 0 # it is over before anybody sees it
    [ -p "$D/never" ] || mkfifo "$D/never"
    setsid bash -c "read -t 600 <> '$D/never'" VBoxHeadless --comment "$(<"$m/name")" --startvm "${m##*/}" </dev/null >/dev/null 2>&1 &
    echo $! > "$m/pid"; echo running > "$m/state"; echo x >> "$m/starts"; wc -l < "$m/starts" > "$m/runs"
    [ -e "$D/lost" ] && { rm "$D/lost"; die "$(<"$D/lost-words")"; }
    echo "VM \"$2\" has been successfully started." ;;
  showvminfo)
    machine "$2"
    printf 'name="%s"\nUUID="%s"\nCfgFile="%s"\nLogFldr="%s"\nVMState="%s"\n' "$(<"$m/name")" "${m##*/}" "$(<"$m/cfg")" \
      "$(dirname "$(<"$m/cfg")")/Logs" "$(state)"
    printf 'VMStateChangeTime="2026-11-30T05:57:%02d.%09d"\n' "$(cat "$m/runs" 2>/dev/null || echo 0)" $RANDOM
    display=$(cat "$m/is/vrde" 2>/dev/null)
    for fact in "$m"/is/*; do
      case "${fact##*/}" in # not told of what is off
        vrde?*) [ "$display" = on ] || continue ;;
        localhostReachable) [ "$(<"$m/is/nic1")" = nat ] || continue ;;
      esac
      [ -e "$fact" ] && echo "\"${fact##*/}\"=\"$(<"$fact")\""
    done
    if [ "$display" = on ]; then # the port of one that runs
      if [ "$(state)" != running ]; then echo vrdeport=-1
      elif [ -e "$D/vrdeport" ]; then echo "vrdeport=$(<"$D/vrdeport")"
      else echo "vrdeport=$(<"$m/is/vrdeports")"; fi
    fi
    [ -e "$m/facts" ] && cat "$m/facts"
    [ -e "$m/snapshots" ] && cat "$m/snapshots"
    [ -d "$m" ] || none "$2" ;; # another call has removed it meanwhile
  controlvm)
    machine "$2"
    case "$(state)" in running | gurumeditation) ;; *) die "Machine '$2' is not currently running." ;; esac
    case "$3" in
      poweroff)
        pid=$(<"$m/pid"); kill -9 "$pid"
        # Killed is not gone yet: its command line is there until it is.
        while grep -q . "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.01; done
        echo poweroff > "$m/state" ;;
      acpipowerbutton) # a guest that heeds it switches itself off
        [ -e "$D/heeds" ] && { echo poweroff > "$m/state"; kill -9 "$(<"$m/pid")"; }; true ;;
      keyboardputscancode) # a guest that sends what is typed to its serial port: the keys of `kiln`, and of the suite's mark
        shift 3
        [ -e "$m/uart" ] && for code; do
          case "$code" in 25) letter=k ;; 17) letter=i ;; 26) letter=l ;; 31) letter=n ;; 2c) letter=z ;; 10) letter=q ;; *) continue ;; esac
          printf %s "$letter" >> "$(<"$m/uart")"
        done; true ;;
      screenshotpng) printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\xe0\x08' > "$4" ;;
    esac ;;
  unregistervm) machine "$2"; [ "$(state)" = running ] && die "Cannot unregister the machine '$2' while it is locked"
    # At once, for two calls may remove it side by side.
    mv "$m" "$D/removed.$$" 2>/dev/null || none "$2"
    rm -r "$D/removed.$$" ;;
  snapshot)
    machine "$2"
    case "$3" in
      list) if [ -s "$m/snapshots" ]; then cat "$m/snapshots"; else echo 'This machine does not have any snapshots'; exit 1; fi ;;
      take)
        touch "$m/snapshots"; count=$(wc -l < "$m/snapshots"); new="s-$4-$count"
        now=$(sed -n 's/^CurrentSnapshotUUID="\(.*\)"$/\1/p' "$m/snapshots")
        place=$(sed -n "s/^SnapshotUUID\\(.*\\)=\"$now\"\$/\\1/p" "$m/snapshots")
        [ -n "$now" ] && place="$place-$count"
        sed -i '/^CurrentSnapshotUUID/d' "$m/snapshots"
        printf 'SnapshotName%s="%s"\nSnapshotUUID%s="%s"\nCurrentSnapshotUUID="%s"\n' "$place" "$4" "$place" "$new" "$new" >> "$m/snapshots" ;;
      restore | delete)
        place=$(sed -n "s/^SnapshotUUID\\(.*\\)=\"$4\"\$/-\\1/p" "$m/snapshots")
        [ -n "$place" ] || die "Could not find a snapshot with UUID {$4}"
        if [ "$3" = restore ]; then sed -i "s/^CurrentSnapshotUUID=.*/CurrentSnapshotUUID=\"$4\"/" "$m/snapshots"
        else sed -i "/^Snapshot\(Name\|UUID\)${place#-}=/d" "$m/snapshots"; fi ;;
    esac ;;
  export)
    machine "$2"; output=$(option --output "$@")
    [ -e "$output" ] && die "Appliance write failed
VBoxManage: error: RTVfsFsStrmAdd failed for 'web.ovf' (VERR_ALREADY_EXISTS)"
    echo ovf > "$output"
    # Its service was just ending, and the next one is not up yet.
    [ -e "$D/unready" ] && { rm "$D/unready"; die "Appliance write failed
VBoxManage: error: The object is not ready"; }
    true ;;
  storagectl)
    machine "$2"; name=$(option --name "$@")
    if has --remove "$@"; then rm -f "$m/is/storagecontroller"*"-$name" "$m/is/$name-"*
    else
      case "$(option --add "$@")" in floppy) kind=I82078 ;; ide) kind=PIIX4 ;; *) kind=IntelAhci ;; esac
      fact "storagecontrollername-$name" "$name"; fact "storagecontrollertype-$name" "$kind"
    fi ;;
  storageattach)
    machine "$2"; name=$(option --storagectl "$@"); place=$(option --port "$@")-$(option --device "$@"); medium=$(option --medium "$@")
    rm -f "$m/is/$name-IsEjected-$place"
    fact "$name-$place" "${medium#host:}"
    [ "$(option --type "$@")" = dvddrive ] && [ "$medium" != none ] && fact "$name-IsEjected-$place" off; true ;;
  movevm)
    machine "$2"; old=$(dirname "$(<"$m/cfg")"); name=$(<"$m/name"); new=$(option --folder "$@")/$name # as it is
    [ -e "$new/$name.vbox" ] && die "Move VM failed
VBoxManage: error: Rollback scenario: can't delete new destination folder."
    mkdir -p "$new"
    [ -e "$D/half" ] && { rm "$D/half"; mv "$old"/*.vmdk "$new"; die 'Could not copy the rest'; }
    mv "$old/${old##*/}.vbox" "$new/$name.vbox"; rm -r "$old"; echo "$new/$name.vbox" > "$m/cfg" ;;
  setextradata | modifynvram) machine "$2" ;;
  *) die "Invalid command '$1'" ;;
esac
