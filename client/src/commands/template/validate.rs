//! `kiln validate`.
//!
//! Syntax is checked here. Everything else needs to know the builders, which only kilnd does: it is run as a child that is
//! asked once and leaves nothing. (A job in the daemon costs a queue entry, a journal transaction and a worker.)

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use kiln_protocol::{
    Severity, TemplateProblem, ValidateLine, ValidateReport, ValidateRequest, value_without_codes, without_codes,
};
use kiln_template::{Diagnostic, Style, check_template_syntax};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;

use super::input::{Template, read_input};
use super::report::{EXIT_FAILURE, look};
use crate::api::find_daemon;
use crate::arguments::ValidateArguments;
use crate::commands::note::note;
use crate::error::CommandError;
use crate::live::{self, Live};
use crate::render::error_count;
use crate::terminal;

/// Room for a piece of the answer, in bytes; most reports fit.
const PIECE_BYTES: usize = 16 << 10;

pub(super) fn validate(arguments: ValidateArguments, machine_readable: bool) -> Result<u8, CommandError> {
    if arguments.syntax_only {
        return check_syntax(arguments, machine_readable);
    }
    let as_json = arguments.json;
    let colour = !machine_readable && !as_json && terminal::wants_colour(None);
    let report = ask(&request(arguments, colour)?, machine_readable)?;
    print(report, "The configuration is valid.", as_json, machine_readable)
}

fn check_syntax(arguments: ValidateArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let template = Template::new(arguments.template_flags, &arguments.template)?;
    let (diagnostics, sources) = check_template_syntax(&template.inputs, &template.files);
    let colour = !machine_readable && terminal::wants_colour(None);
    let style = Style { colour, ..Style::default() };
    let problem = |(diagnostic, report): (&Diagnostic, _)| {
        Ok(TemplateProblem {
            severity: if diagnostic.is_error() { Severity::Error } else { Severity::Warning },
            text: diagnostic.render(&sources, &style),
            report: serde_json::to_value(report).map_err(CommandError::new)?,
        })
    };
    let problems = diagnostics.iter().zip(diagnostics.reports(&sources)).map(problem);
    let report =
        ValidateReport { valid: !diagnostics.has_errors(), problems: problems.collect::<Result<_, CommandError>>()? };
    print(report, "Syntax-only check passed. Everything looks okay.", arguments.json, machine_readable)
}

/// Prints what was found, on standard output as Packer does: it is what was asked for.
fn print(mut report: ValidateReport, praise: &str, as_json: bool, machine_readable: bool) -> Result<u8, CommandError> {
    let code = if report.valid { 0 } else { EXIT_FAILURE };
    for problem in &mut report.problems {
        problem.text = without_codes(&problem.text).into_owned();
        value_without_codes(&mut problem.report);
    }
    let mut stdout = terminal::stdout();
    if as_json {
        let diagnostics: Vec<_> = report.problems.into_iter().map(|problem| problem.report).collect();
        let object = json!({ "valid": report.valid, "diagnostics": diagnostics });
        terminal::print_json(&object)?;
        return Ok(code);
    }
    let look = look(machine_readable);
    for problem in &report.problems {
        // One empty line after each, as there is in Packer's.
        let text = format!("{}\n", problem.text.trim_end());
        look.notice(&mut stdout, Timestamp::now(), problem.severity == Severity::Error, &text)?;
    }
    let is_error = |problem: &&TemplateProblem| problem.severity == Severity::Error;
    if let Some(count) = error_count(report.problems.iter().filter(is_error).count()).filter(|_| !machine_readable) {
        look.notice(&mut stdout, Timestamp::now(), true, &count)?;
    }
    if report.valid {
        look.notice(&mut stdout, Timestamp::now(), false, praise)?;
    }
    Ok(code)
}

fn request(arguments: ValidateArguments, colour: bool) -> Result<ValidateRequest, CommandError> {
    let flags = arguments.template_flags;
    let text = |path: PathBuf| {
        let not_text = |path| CommandError::new(format!("the name {path:?} is not UTF-8"));
        path.into_os_string().into_string().map_err(not_text)
    };
    let from_input = arguments.template == Path::new("-");
    let not_text = |_| CommandError::new("the template on standard input is not UTF-8");
    let template_text =
        from_input.then(read_input).transpose()?.map(String::from_utf8).transpose().map_err(not_text)?;
    let template = match (from_input, flags.config_type.as_deref()) {
        (true, Some("hcl2")) => "<standard input>.pkr.hcl".to_owned(),
        (true, _) => "<standard input>".to_owned(),
        (false, _) => text(arguments.template)?,
    };
    Ok(ValidateRequest {
        template,
        template_text,
        variables: flags.var.into_iter().map(|set| set.0).collect(),
        variable_files: flags.var_file.into_iter().map(text).collect::<Result<_, _>>()?,
        only: flags.only,
        except: flags.except,
        warn_on_undeclared_variables: !arguments.no_warn_undeclared_var,
        evaluate_datasources: arguments.evaluate_datasources,
        colour,
        reports: arguments.json,
    })
}

/// Runs kilnd for one request.
fn ask(request: &ValidateRequest, machine_readable: bool) -> Result<ValidateReport, CommandError> {
    // kilnd reads the template from there, and would end without a word that anybody here understands.
    std::env::current_dir().map_err(|error| {
        CommandError::new(format!("the working directory cannot be found: {error}"))
            .hint("it was removed, or is below a directory that you may not enter: change to another one")
    })?;
    let program = find_daemon();
    let failed = |error: io::Error| {
        let error = CommandError::new(format!("cannot run {}: {error}", program.display()));
        error.hint("kilnd belongs beside kiln, or on the PATH")
    };
    let body = serde_json::to_vec(request).map_err(CommandError::new)?;
    let child = Command::new(&program).arg("validate").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child: Child = child.map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(&body) {
            // It ended before it read everything; its exit says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.map_err(failed)?,
        }
    }
    let report = child.stdout.take().and_then(|output| read_answer(output, machine_readable));
    let status = child.wait().map_err(failed)?;
    report.ok_or_else(|| {
        let error = CommandError::new(format!("{} gave no report ({status})", program.display()));
        error.hint("kiln and kilnd may be of different versions")
    })
}

/// Reads lines until the report, and shows meanwhile what is waited for: on standard error, for the report is what was asked for.
fn read_answer(mut output: ChildStdout, machine_readable: bool) -> Option<ValidateReport> {
    let mut live = if terminal::can_redraw() && !machine_readable { Live::drawn() } else { Live::told() };
    let (mut begun, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        // A thread that reads would cost a tenth of what most templates take.
        while !can_be_read(&output, live::PACE)? {
            live.tick().iter().for_each(|line| note(line));
        }
        let count = match output.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) | Ok(0) => return None,
            Ok(count) => count,
        };
        let mut rest = &piece[..count];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            begun.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            match serde_json::from_slice(&std::mem::take(&mut begun)).ok()? {
                ValidateLine::Event(event) => live.event(&event),
                ValidateLine::Report(report) => return Some(report),
            }
        }
        begun.extend_from_slice(rest);
    }
}

/// Waits so long until there is something to read, or nothing more will come.
fn can_be_read(output: &ChildStdout, time: Duration) -> Option<bool> {
    let time = Timespec { tv_sec: i64::try_from(time.as_secs()).ok()?, tv_nsec: time.subsec_nanos().into() };
    match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&time)) {
        Ok(ready) => Some(ready > 0),
        Err(Errno::INTR) => Some(false),
        Err(_) => None,
    }
}
