//! Leases: who holds what a running job holds.

use rusqlite::params;

use super::database::Journal;
use super::error::JournalError;
use super::observations::signed;
use super::rows::Lease;

impl Journal {
    /// Writes down which process works on a job that is not over, since the given time, and where it notes what it takes. The lease ends
    /// with the job ([`Journal::finish`]).
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn take_lease(&self, job: &str, lease: Lease, since: String) -> Result<(), JournalError> {
        let job = job.to_owned();
        self.run(move |connection| {
            let Lease { holder, ledger } = lease;
            let transaction = connection.transaction()?;
            let sql = "UPDATE jobs SET started_at = coalesce(started_at, ?2) WHERE id = ?1 AND finished_at IS NULL";
            if transaction.execute(sql, params![job, since])? > 0 {
                let sql = "INSERT OR REPLACE INTO leases (job, holder_pid, holder_ticks, holder_boot, ledger)
                           VALUES (?1, ?2, ?3, ?4, ?5)";
                let row = params![job, holder.pid, signed(holder.start_ticks), holder.boot_id, ledger];
                transaction.execute(sql, row)?;
            }
            transaction.commit()
        })
        .await
    }
}
