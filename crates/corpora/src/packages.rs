//! The packages that a lock file pins, and where their sources lie.
//!
//! The list comes from the lock file alone: every package of a registry that it names, whatever this machine's platform is
//! and whatever the program itself was built from. The sources are where cargo keeps them; cargo is run only if some are
//! not there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::CorpusError;

/// The folder of the default corpus's manifest and lock file, from the project's root.
const FOLDER: &str = "crates/corpora/packages";

/// A pinned package of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folder of its sources.
    pub folder: PathBuf,
}

/// Sources are missing and cargo is about to fetch them. Displayed as `fetching the text of 120 packages, once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// Number of packages that are not on this machine yet.
    pub packages: usize,
}

impl fmt::Display for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fetching the text of {} packages, once", self.packages)
    }
}

/// The packages of the default corpus, sorted by name and version: those of `crates/corpora/packages/Cargo.lock`.
///
/// What is missing on this machine is fetched by cargo; `tell` is called before that.
///
/// # Errors
/// [`CorpusError::ProjectMoved`], and those of [`packages_of`].
pub fn pinned_packages(tell: impl FnOnce(Fetching)) -> Result<Vec<Package>, CorpusError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packages");
    let lock_file = folder.join("Cargo.lock");
    if !lock_file.is_file() {
        return Err(CorpusError::ProjectMoved { lock_file });
    }
    located(&folder, FOLDER, &Cargo::of_environment(), tell)
}

/// The packages of a registry that the `Cargo.lock` in `folder` names, sorted by name and version. A `Cargo.toml` lies
/// beside it.
///
/// What is missing on this machine is fetched by cargo; `tell` is called before that.
///
/// # Errors
/// [`CorpusError::Read`] and [`CorpusError::LockFile`] for the lock file, [`CorpusError::Fetch`] if sources are missing
/// and cargo cannot fetch them, [`CorpusError::NoSources`] if they cannot be found after that.
pub fn packages_of(folder: &Path, tell: impl FnOnce(Fetching)) -> Result<Vec<Package>, CorpusError> {
    located(folder, &folder.display().to_string(), &Cargo::of_environment(), tell)
}

/// `shown` is the folder's name in an error.
fn located(
    folder: &Path,
    shown: &str,
    cargo: &Cargo,
    tell: impl FnOnce(Fetching),
) -> Result<Vec<Package>, CorpusError> {
    let names = registry_packages(&folder.join("Cargo.lock"))?;
    let missing = match cargo.find(folder, &names) {
        Ok(packages) => return Ok(packages),
        Err(missing) => missing.len(),
    };
    tell(Fetching { packages: missing });
    cargo.run(folder, &["fetch", "--locked"]).map_err(|problem| CorpusError::Fetch {
        packages: missing,
        manifest: format!("{shown}/Cargo.toml"),
        problem,
    })?;
    cargo.find(folder, &names).map_err(|missing| CorpusError::NoSources {
        package: missing.first().map_or(String::new(), |(name, version)| format!("{name} {version}")),
        cargo_home: cargo.home.clone(),
    })
}

type NameAndVersion = (String, String);

/// The packages of a lock file that come from a registry, sorted.
fn registry_packages(lock_file: &Path) -> Result<Vec<NameAndVersion>, CorpusError> {
    #[derive(Deserialize)]
    struct LockFile {
        package: Vec<LockedPackage>,
    }
    #[derive(Deserialize)]
    struct LockedPackage {
        name: String,
        version: String,
        source: Option<String>,
    }
    let text =
        fs::read_to_string(lock_file).map_err(|source| CorpusError::Read { path: lock_file.to_path_buf(), source })?;
    let parsed: LockFile = toml::from_str(&text)
        .map_err(|error| CorpusError::LockFile { path: lock_file.to_path_buf(), found: error.message().to_string() })?;
    let is_registry = |package: &LockedPackage| {
        package.source.as_ref().is_some_and(|source| source.starts_with("registry+") || source.starts_with("sparse+"))
    };
    let mut names: Vec<NameAndVersion> =
        parsed.package.into_iter().filter(is_registry).map(|package| (package.name, package.version)).collect();
    names.sort();
    Ok(names)
}

/// The program and the folder that it keeps packages in.
struct Cargo {
    program: PathBuf,
    home: PathBuf,
}

impl Cargo {
    fn of_environment() -> Self {
        // Cargo sets both for the programs that it runs.
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("CARGO_HOME").unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".cargo"));
        // Cargo runs in another folder than this program.
        let home = std::path::absolute(&home).unwrap_or(home);
        Self { program: set("CARGO").unwrap_or_else(|| "cargo".into()), home }
    }

    /// Where the sources of all of `names` are, or the names of those that are not on this machine.
    fn find(&self, folder: &Path, names: &[NameAndVersion]) -> Result<Vec<Package>, Vec<NameAndVersion>> {
        let sources = self.registry_sources();
        let in_registry = |(name, version): &NameAndVersion| {
            // Cargo writes this file last: without it unpacking was cut off.
            let unpacked = |folder: &PathBuf| folder.join(".cargo-ok").is_file();
            sources.iter().map(|source| source.join(format!("{name}-{version}"))).find(unpacked)
        };
        let mut folders: BTreeMap<&NameAndVersion, PathBuf> =
            names.iter().filter_map(|name| Some((name, in_registry(name)?))).collect();
        if folders.len() < names.len() {
            let elsewhere = self.package_folders(folder);
            for name in names {
                if let (false, Some(folder)) = (folders.contains_key(name), elsewhere.get(name)) {
                    folders.insert(name, folder.clone());
                }
            }
        }
        let missing: Vec<NameAndVersion> = names.iter().filter(|name| !folders.contains_key(name)).cloned().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let package = |((name, version), folder): (&NameAndVersion, PathBuf)| Package {
            name: name.clone(),
            version: version.clone(),
            folder,
        };
        Ok(folders.into_iter().map(package).collect())
    }

    /// The folders `registry/src/INDEX`, sorted.
    fn registry_sources(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.home.join("registry/src")) else {
            return Vec::new();
        };
        let mut folders: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        folders.sort();
        folders
    }

    /// Folders by package, where cargo says so: for sources that are not in its registry folder (those of
    /// `cargo vendor`, for one). Empty where it cannot say, for then a package is missing.
    fn package_folders(&self, folder: &Path) -> BTreeMap<NameAndVersion, PathBuf> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<MetadataPackage>,
        }
        #[derive(Deserialize)]
        struct MetadataPackage {
            name: String,
            version: String,
            manifest_path: PathBuf,
        }
        let metadata = self.run(folder, &["metadata", "--offline", "--locked", "--format-version", "1"]);
        let Some(metadata) = metadata.ok().and_then(|text| serde_json::from_str::<Metadata>(&text).ok()) else {
            return BTreeMap::new();
        };
        let folder = |package: MetadataPackage| {
            let folder = package.manifest_path.parent()?.to_path_buf();
            Some(((package.name, package.version), folder))
        };
        metadata.packages.into_iter().filter_map(folder).collect()
    }

    /// What cargo prints, run in `folder`; or in one line what went wrong.
    fn run(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let command = format!("{} {}", self.program.display(), arguments.join(" "));
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(folder)
            .env("CARGO_HOME", &self.home)
            .output()
            .map_err(|error| format!("'{command}' could not be started: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let first = complaint.lines().find(|line| line.starts_with("error")).unwrap_or("no error printed");
        Err(format!("'{command}' ended with {}: {first}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_TOLD: fn(Fetching) = |fetching| panic!("{fetching}");

    #[test]
    fn only_packages_of_a_registry_are_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packages");
        let names = registry_packages(&folder.join("Cargo.lock")).unwrap();
        assert!(names.iter().any(|(name, _)| name == "serde"));
        assert!(!names.iter().any(|(name, _)| name == "corpus-packages"));
        assert!(names.is_sorted());
    }

    #[test]
    fn a_damaged_lock_file_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.lock"), "[[package]]\nname = 3\n").unwrap();
        let message = packages_of(folder.path(), NOBODY_TOLD).unwrap_err().to_string();
        assert!(message.contains("Cargo.lock: found "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn a_failing_cargo_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n";
        fs::write(folder.path().join("Cargo.lock"), lock).unwrap();
        let mut cargo = Cargo { program: "no-such-cargo".into(), home: folder.path().join("home") };
        let failure = |cargo: &Cargo| {
            let message = located(folder.path(), "here", cargo, |_| ()).unwrap_err().to_string();
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("run 'cargo fetch --locked --manifest-path here/Cargo.toml'"), "{message}");
            message
        };
        assert!(failure(&cargo).contains("could not be started"));
        cargo.program = Cargo::of_environment().program;
        assert!(failure(&cargo).contains("ended with"));
    }
}
