//! Which files hold the weights of a folder in Hugging Face's layout: one, or several that an index divides them among.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::WEIGHTS;
use crate::{Error, Result};

/// The file that says in which shard a tensor lies.
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files with the weights, by name.
///
/// # Errors
/// One line that names the folder, the index or the shard that is missing.
pub(super) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join(WEIGHTS);
    if single.is_file() {
        return Ok(vec![single]);
    }
    let path = folder.join(INDEX);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_weights(folder)),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let refuse = |what: String| Error::File { path: path.clone(), what };
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| refuse(format!("found {error}, expected an object with `weight_map`")))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(refuse("field `weight_map`: found no shard, expected at least one".into()));
    }
    let mut files = Vec::new();
    for name in names {
        if Path::new(&name).file_name().is_none_or(|plain| plain != name.as_str()) {
            return Err(refuse(format!("field `weight_map`: found `{name}`, expected the name of a file beside it")));
        }
        let file = folder.join(&name);
        if !file.is_file() {
            return Err(refuse(format!("the shard {name} is missing, expected it beside the index")));
        }
        files.push(file);
    }
    Ok(files)
}

/// Says what is there in place of weights that can be read.
fn no_weights(folder: &Path) -> Error {
    let other = ["pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.safetensors", "tf_model.h5"];
    let found = other.iter().find(|name| folder.join(name).exists()).copied().unwrap_or("neither");
    let what = format!("found {found}, expected {WEIGHTS} or {INDEX}");
    Error::File { path: folder.into(), what }
}
