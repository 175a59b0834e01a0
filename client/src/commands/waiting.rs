//! What a queued job waits for, in words.

use kiln_protocol::{Job, PlaceHolder};

/// Tells that a job that was just submitted waits, and what for. `id` is spelt out, so that the line can stand alone.
pub(super) fn notice(job: &Job) -> String {
    let text = format!("job {} waits for other jobs to finish; `kiln jobs` lists them", job.id);
    let asking = job.waits_for.iter().filter(|holder| holder.asks).map(|holder| &holder.job);
    asking.fold(text, |text, id| format!("{text}\njob {id} waits for an answer: `kiln answer {id}`"))
}

/// Names the jobs that hold the places for which a job waits; nothing when it does not wait.
pub(super) fn holders(job: &Job) -> Option<String> {
    let holder = |holder: &PlaceHolder| match holder.asks {
        true => format!("{} (asks something: `kiln answer {}`)", holder.job, holder.job),
        false => holder.job.to_string(),
    };
    let holders = job.waits_for.iter().map(holder).collect::<Vec<_>>().join(", ");
    (!holders.is_empty()).then(|| format!("waits for: {holders}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(waits_for: &str) -> Job {
        let text = format!(
            r#"{{"id":"aaaaaaaaaa","kind":"build","template":"t","working_directory":"/w","state":"queued",
                "created_at":"2026-01-02T03:04:05.678Z","last_event":0,"builds":[],"waits_for":[{waits_for}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn who_holds_the_places_is_named_and_who_asks_is_told_of() {
        let (quiet, asking) = (r#"{"job":"bbbbbbbbbb","asks":false}"#, r#"{"job":"cccccccccc","asks":true}"#);
        let alone = "job aaaaaaaaaa waits for other jobs to finish; `kiln jobs` lists them";
        assert_eq!((notice(&job("")), holders(&job(""))), (alone.to_owned(), None));
        assert_eq!(notice(&job(quiet)), alone);
        assert_eq!(holders(&job(quiet)).as_deref(), Some("waits for: bbbbbbbbbb"));
        let both = job(&format!("{quiet},{asking}"));
        let asked = format!("{alone}\njob cccccccccc waits for an answer: `kiln answer cccccccccc`");
        assert_eq!(notice(&both), asked);
        let named = "waits for: bbbbbbbbbb, cccccccccc (asks something: `kiln answer cccccccccc`)";
        assert_eq!(holders(&both).as_deref(), Some(named));
    }
}
