//! A QEMU that is broken in one way each: it hangs, speaks garbage, ends without being asked. A clear error, and nothing is left.

use super::*;

/// How long it may take to greet: long enough for a real one on a busy machine, where that is asked first.
const LIMIT: Duration = Duration::from_secs(6);

/// What a broken one does, `$monitor` being its end of the connection; and what is told of it.
const WAYS: [(&str, &str); 6] = [
    ("exec sleep 1000", HANGS),
    ("printf '\\377\\001garbage\\n{\"QMP\\n' >&$monitor; exec sleep 1000", HANGS),
    ("echo '{\"QMP\": {\"version\": 7}}' >&$monitor; exec sleep 1000", HANGS),
    ("echo 'all is well' >&2; exit 0", "all is well"),
    ("echo '[]' >&$monitor; echo 'all is well' >&2; exit 0", "all is well"),
    ("kill -9 $$", "signal 9 (SIGKILL)"),
];

/// It is told otherwise by a start than by the probe before it.
const HANGS: &str = "";

struct Broken {
    host: Host,
    hypervisor: QemuHypervisor,
    spec: crate::spec::MachineSpec,
}

impl Broken {
    /// One that does `how`, but works while it is only asked what it is if `known`.
    fn new(how: &str, known: bool) -> Self {
        let host = Host::new();
        let (program, pid) = (host.directory().join("qemu"), host.directory().join("pid"));
        let works =
            if known { format!("case \"$*\" in *'-machine none'*) exec {QEMU} \"$@\";; esac") } else { String::new() };
        let monitor = r#"[[ "$*" =~ id=kiln-control,fd=([0-9]+) ]] && monitor=${BASH_REMATCH[1]}"#;
        let script = format!("#!/bin/bash\n{works}\n{monitor}\necho $$ > '{}'\n{how}\n", pid.display());
        crate::process::script::write_script(&program, &script);
        let mut spec = host.spec(Guest::Echo);
        qemu(&mut spec).binary = program.display().to_string();
        let hypervisor = QemuHypervisor::new(host.directory().join("cache")).with_limit(LIMIT);
        Self { host, hypervisor, spec }
    }

    /// The error of its start, of which nothing is left.
    async fn fails(&self) -> StartError {
        let ledger = Arc::new(RecordingLedger::default());
        let error = within(self.hypervisor.start(&self.spec, ledger.clone())).await.err().expect("it does not start");
        assert_eq!((ledger.held(), ledger.mistakes()), (vec![], vec![]), "{error}");
        assert!(!self.host.anything_left(), "{error}");
        let pid = std::fs::read_to_string(self.host.directory().join("pid")).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "{error}: it runs still");
        error
    }
}

#[tokio::test]
async fn one_that_cannot_be_asked_what_it_is() {
    for (how, words) in WAYS {
        let broken = Broken::new(how, false);
        let error = broken.fails().await;
        assert!(matches!(error, StartError::Refused { .. }), "{how}: {error:?}");
        let words = if words == HANGS { "within 6000 ms" } else { words };
        assert!(
            error.to_string().contains("qemu what it can do failed: it does not work as a QEMU: "),
            "{how}: {error}"
        );
        assert!(error.to_string().contains(words), "{how}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("qemu_binary")), "{how}");
    }
}

#[tokio::test]
async fn one_that_does_not_start_the_machine() {
    if missing(QEMU) {
        return;
    }
    for (how, words) in WAYS {
        let broken = Broken::new(how, true);
        let error = broken.fails().await;
        if words == HANGS {
            assert!(error.to_string().ends_with("qemu did not greet within 6 s"), "{how}: {error}");
        } else {
            assert!(matches!(error, StartError::EndedEarly { .. }), "{how}: {error:?}");
            assert!(error.to_string().contains(words), "{how}: {error}");
        }
    }
}

/// It greets as a QEMU, goes into command mode, and does not answer what it is asked then.
#[tokio::test]
async fn one_that_greets_and_answers_no_more() {
    if missing(QEMU) {
        return;
    }
    let how = r#"echo '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}}' >&$monitor
                 read -r line <&$monitor; [[ "$line" =~ (kiln-[0-9]+) ]]
                 echo "{\"return\": {}, \"id\": \"${BASH_REMATCH[1]}\"}" >&$monitor
                 exec sleep 1000"#;
    let begun = std::time::Instant::now();
    let error = Broken::new(how, true).fails().await;
    let StartError::Setup(source) = &error else { panic!("{error:?}") };
    let MachineError::Timeout { command, limit } = source else { panic!("{source:?}") };
    assert_eq!(*limit, LIMIT, "each answer has a limit, too");
    assert!(!command.is_empty() && command != "qmp_capabilities", "{command}");
    // Only what the machine cannot do without is waited for; each of that once.
    assert!(begun.elapsed() < LIMIT * 14, "{:?}", begun.elapsed());
}

/// It closes its monitor and goes on.
#[tokio::test]
async fn one_that_hangs_up_and_stays() {
    if missing(QEMU) {
        return;
    }
    let error = Broken::new("eval \"exec $monitor>&-\"; exec sleep 1000", true).fails().await;
    assert!(error.to_string().ends_with("qemu did not end after it closed its monitor within 6 s"), "{error}");
}
