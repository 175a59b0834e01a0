//! `image compare`: what two guests would see. Exit codes: 0 the same, 1 different, 2 an error.

use kiln_disk_formats::compare;
use kiln_protocol::{CompareRequest, CompareResult, ImageResult};

use super::failure::Failures;
use super::reporter::{Ended, Reporter};
use super::source::open_source;

const EXIT_DIFFERENT: u8 = 1;
const EXIT_ERROR: u8 = 2;

pub(super) fn run(request: &CompareRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    compare_both(request, reporter).map_err(|failures| failures.exit(EXIT_ERROR))
}

fn compare_both(request: &CompareRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    // Both are opened before anything is said, so that all that is wrong is said at once.
    let (left, right) = match (open_source(&request.left), open_source(&request.right)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(mut first), Err(second)) => {
            first.list.extend(second.list);
            return Err(first);
        }
        (Err(failures), _) | (_, Err(failures)) => return Err(failures),
    };
    let found = compare(&*left, &*right, &reporter.progress("compare".to_owned()))?;
    let identical = found.first_difference.is_none() && (found.same_size || !request.strict);
    let (same_size, first_difference) = (found.same_size, found.first_difference);
    reporter.result(ImageResult::Compare(CompareResult { identical, same_size, first_difference }));
    Ok(match (identical, first_difference) {
        (true, _) => Ended::well(),
        (false, Some(offset)) => different(format!("the images differ at offset {offset}")),
        (false, None) => different("the images have different sizes".to_owned()),
    })
}

fn different(why: String) -> Ended {
    Ended { exit_code: EXIT_DIFFERENT, why: Some(why) }
}
