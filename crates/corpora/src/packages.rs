//! The packages that a lock file pins, and where their sources lie.
//!
//! The list comes from the lock file alone: every package of a registry that it names, whatever this machine's platform
//! is and whatever the program itself was built from. The sources are where cargo keeps them; cargo is run only if some
//! are not there.

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
    located(&pinned_folder()?, FOLDER, &Cargo::of_environment(), tell)
}

/// The lock file of the default corpus: with the version of the extraction, all that decides its text.
///
/// # Errors
/// [`CorpusError::ProjectMoved`], [`CorpusError::Read`].
pub fn pinned_lock() -> Result<String, CorpusError> {
    let path = pinned_folder()?.join("Cargo.lock");
    fs::read_to_string(&path).map_err(|source| CorpusError::Read { path, source })
}

fn pinned_folder() -> Result<PathBuf, CorpusError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packages");
    let lock_file = folder.join("Cargo.lock");
    if lock_file.is_file() { Ok(folder) } else { Err(CorpusError::ProjectMoved { lock_file }) }
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
    use sha2::{Digest, Sha256};

    const NOBODY_TOLD: fn(Fetching) = |fetching| panic!("{fetching}");

    #[test]
    fn only_packages_of_a_registry_are_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packages");
        let lock_file = folder.join("Cargo.lock");
        let names = registry_packages(&lock_file).unwrap();
        assert!(names.iter().any(|(name, _)| name == "serde"));
        assert!(!names.iter().any(|(name, _)| name == "corpus-packages"));
        assert!(names.is_sorted());
        // They come from crates.io, however the machine that wrote the file reached it.
        let text = fs::read_to_string(&lock_file).unwrap();
        let mut sources = text.lines().filter(|line| line.starts_with("source = "));
        assert!(sources.all(|line| line == "source = \"registry+https://github.com/rust-lang/crates.io-index\""));
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
    fn what_the_workspace_depends_on_changes_nothing() {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_folder.ancestors().nth(2).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let folder = copy.path().join(FOLDER);
        fs::create_dir_all(folder.join("src")).unwrap();
        for file in ["Cargo.toml", "Cargo.lock", "src/lib.rs"] {
            fs::copy(crate_folder.join("packages").join(file), folder.join(file)).unwrap();
        }
        let (manifest, lock) = (copy.path().join("Cargo.toml"), copy.path().join("Cargo.lock"));
        fs::copy(root.join("Cargo.toml"), &manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), &lock).unwrap();
        let pinned = pinned_packages(|_| ()).unwrap();
        assert_eq!(packages_of(&folder, NOBODY_TOLD).unwrap(), pinned);

        let added = "[[package]]\nname = \"added\"\nversion = \"1.0.0\"\n\
                     source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        fs::write(&lock, fs::read_to_string(&lock).unwrap() + added).unwrap();
        fs::write(&manifest, fs::read_to_string(&manifest).unwrap() + "[dependencies]\nadded = \"1\"\n").unwrap();
        assert_eq!(packages_of(&folder, NOBODY_TOLD).unwrap(), pinned);
        // Nor does cargo, where it has to be asked, look at the project around the folder.
        fs::write(&manifest, "no manifest").unwrap();
        Cargo::of_environment().run(&folder, &["tree", "--offline", "--locked", "--depth", "0"]).unwrap();
        assert_eq!(packages_of(&folder, NOBODY_TOLD).unwrap(), pinned);
    }

    /// A manifest that pins one package, and a registry of files that has it.
    fn project_with_registry(folder: &Path) {
        let write = |path: &str, content: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(
            "tiny-text/Cargo.toml",
            "[workspace]\n[package]\nname = \"tiny-text\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
        );
        write("tiny-text/src/lib.rs", "");
        let cargo = Cargo::of_environment();
        let arguments = ["package", "--offline", "--no-verify", "--allow-dirty", "--target-dir", "../built"];
        cargo.run(&folder.join("tiny-text"), &arguments).unwrap();
        fs::create_dir(folder.join("registry")).unwrap();
        let archive = "tiny-text-1.0.0.crate";
        fs::copy(folder.join("built/package").join(archive), folder.join("registry").join(archive)).unwrap();
        let digest = Sha256::digest(fs::read(folder.join("registry").join(archive)).unwrap());
        let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        write(
            "registry/index/ti/ny/tiny-text",
            &format!(
                "{{\"name\":\"tiny-text\",\"vers\":\"1.0.0\",\"deps\":[],\"features\":{{}},\"yanked\":false,\
                 \"cksum\":\"{checksum}\"}}\n"
            ),
        );
        write(
            "pins/Cargo.toml",
            "[workspace]\n[package]\nname = \"pins\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [dependencies]\ntiny-text = \"=1.0.0\"\n",
        );
        write("pins/src/lib.rs", "");
        write(
            "pins/Cargo.lock",
            &format!(
                "version = 4\n\n[[package]]\nname = \"pins\"\nversion = \"0.0.0\"\ndependencies = [\n \"tiny-text\",\n]\n\n\
                 [[package]]\nname = \"tiny-text\"\nversion = \"1.0.0\"\n\
                 source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{checksum}\"\n"
            ),
        );
        write(
            "pins/.cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"files\"\n[source.files]\nlocal-registry = \"../registry\"\n",
        );
    }

    #[test]
    fn packages_that_cargo_has_as_archives_are_unpacked_without_a_fetch() {
        let folder = tempfile::tempdir().unwrap();
        project_with_registry(folder.path());
        let cargo = Cargo { home: folder.path().join("home"), ..Cargo::of_environment() };
        let read = || located(&folder.path().join("pins"), "pins", &cargo, NOBODY_TOLD).unwrap();
        let first = read();
        assert_eq!(first, read());
        let unpacked = first[0].folder.join("src/lib.rs");
        assert!(unpacked.is_file());
        // As if unpacking had been cut off.
        fs::remove_file(&unpacked).unwrap();
        fs::remove_file(first[0].folder.join(".cargo-ok")).unwrap();
        assert_eq!(first, read());
        assert!(unpacked.is_file());
    }

    #[cfg(unix)]
    #[test]
    fn missing_packages_are_fetched_once() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let lock =
            |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n");
        fs::write(folder.path().join("Cargo.lock"), lock("a") + &lock("b")).unwrap();
        let program = folder.path().join("cargo");
        let script = "#!/bin/sh\ntest \"$1\" = fetch || exit 1\nfor name in a b; do\n\
                      folder=\"$CARGO_HOME/registry/src/index/$name-1.0.0\"\n\
                      mkdir -p \"$folder\" && touch \"$folder/.cargo-ok\"\ndone\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let cargo = Cargo { program, home: folder.path().join("home") };
        let mut told = Vec::new();
        let mut read = || located(folder.path(), "here", &cargo, |fetching| told.push(fetching)).unwrap();
        let first = read();
        assert_eq!(first, read());
        assert_eq!(first.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(told, [Fetching { packages: 2 }]);
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
