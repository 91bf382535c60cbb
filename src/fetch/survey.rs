//! What is in the folder before a fetch writes anything: which files are right already, and whether one is somebody else's.

use std::collections::HashMap;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};

use super::failure::{Failure, Reason};
use super::folder::Folder;
use super::listing::{Check, Listing, RemoteFile};
use super::meter::{Meter, Phase};
use super::verify;

/// Files that are hashed at once.
const AT_ONCE: usize = 4;

/// Which files are there and right, whole ones only. `ours` are those that earlier fetches put there or began.
///
/// # Errors
/// `FolderInUse` when a file stands in the way that is neither right nor ours.
pub(super) async fn survey(folder: &Folder, listing: &Listing, ours: &[RemoteFile], meter: &Meter) -> Result<Vec<bool>, Failure> {
    meter.phase(Phase::Checking);
    let ours: HashMap<&str, &RemoteFile> = ours.iter().map(|file| (file.path.as_str(), file)).collect();
    let look = |file: &RemoteFile| {
        let (file, path, part) = (file.clone(), file.path.within(folder.path()), file.path.part_within(folder.path()));
        let our = ours.get(file.path.as_str()).copied();
        let (is_our_path, is_our_file) = (our.is_some(), our == Some(&file));
        let source = &listing.source;
        let somebodys = move |path: &Path| {
            let problem = format!("{} is another file than that of {source}", path.display());
            Failure::new(Reason::FolderInUse, problem, "remove it, or fetch into an empty folder")
        };
        async move {
            let is_in_the_way = |path: &Path| path.symlink_metadata().is_ok() && !is_our_path;
            if is_in_the_way(&part) {
                return Err(somebodys(&part));
            }
            if path.symlink_metadata().is_err() {
                return Ok(false);
            }
            // Size alone proves nothing of a file that we did not put there.
            let may_be_right = file.check != Check::Size || is_our_file;
            if may_be_right && verify::is_right(path.clone(), file.size, file.check.clone()).await? {
                meter.found(file.size);
                meter.file_done();
                return Ok(true);
            }
            if is_in_the_way(&path) { Err(somebodys(&path)) } else { Ok(false) }
        }
    };
    // A list, and not a lazy iterator: the futures must not borrow from a closure that is moved.
    let looks: Vec<_> = listing.files.iter().map(look).collect();
    stream::iter(looks).buffered(AT_ONCE).try_collect().await
}
