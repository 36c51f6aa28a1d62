//! The packages that `Cargo.lock` pins and the program is built from, and where their sources lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::error::CorpusError;

/// A pinned package of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// The folder of its sources.
    pub(super) folder: PathBuf,
}

/// The folder with the project's `Cargo.lock`, as it was when this program was built.
///
/// # Errors
/// [`CorpusError::ProjectMoved`] if it is not there any more.
pub(super) fn workspace_root() -> Result<PathBuf, CorpusError> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_folder.ancestors().nth(2).unwrap_or(crate_folder).to_path_buf();
    let lock_file = root.join("Cargo.lock");
    if lock_file.is_file() { Ok(root) } else { Err(CorpusError::ProjectMoved { lock_file }) }
}

/// The registry packages that a plain build of `experiments` compiles on this machine's platform,
/// sorted by name and version.
///
/// Development dependencies are left out: a build does not download them. So are the workspace's own
/// crates: changing the project leaves its corpus as it is.
///
/// # Errors
/// [`CorpusError::Cargo`], [`CorpusError::LockFile`], [`CorpusError::NoSources`].
pub(super) fn pinned(root: &Path) -> Result<Vec<Package>, CorpusError> {
    let cargo = Cargo::of(root);
    let built = cargo.built_packages()?;
    let from_registry = registry_packages(&root.join("Cargo.lock"))?;
    let sources = registry_sources(&cargo.home);
    let mut vendored = None;
    built
        .into_iter()
        .filter(|package| from_registry.contains(package))
        .map(|(name, version)| {
            let in_registry =
                sources.iter().map(|source| source.join(format!("{name}-{version}"))).find(|folder| folder.is_dir());
            let folder = match in_registry {
                Some(folder) => folder,
                None => {
                    let manifests = match &vendored {
                        Some(manifests) => manifests,
                        None => vendored.insert(cargo.package_folders()),
                    };
                    manifests.get(&(name.clone(), version.clone())).cloned().ok_or_else(|| CorpusError::NoSources {
                        package: format!("{name} {version}"),
                        cargo_home: cargo.home.clone(),
                    })?
                }
            };
            Ok(Package { name, version, folder })
        })
        .collect()
}

type NameAndVersion = (String, String);

struct Cargo<'r> {
    program: PathBuf,
    home: PathBuf,
    root: &'r Path,
}

impl<'r> Cargo<'r> {
    fn of(root: &'r Path) -> Self {
        // Cargo sets both for the programs that it runs.
        let program = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".cargo"));
        Self { program, home, root }
    }

    /// Names and versions that `cargo tree` lists for a plain build.
    fn built_packages(&self) -> Result<BTreeSet<NameAndVersion>, CorpusError> {
        let host = self.host()?;
        let listing = self.run(&[
            "tree",
            "--offline",
            "--locked",
            "--package",
            "experiments",
            "--edges",
            "normal,build",
            "--target",
            &host,
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])?;
        Ok(listing.lines().filter_map(name_and_version).collect())
    }

    /// The platform that programs run on here, whatever a configuration says to build for.
    fn host(&self) -> Result<String, CorpusError> {
        let arguments = ["--version", "--verbose"];
        let version = self.run(&arguments)?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        host.map(str::to_string).ok_or_else(|| CorpusError::Cargo {
            command: self.command(&arguments),
            problem: "does not say which platform this is".into(),
        })
    }

    fn command(&self, arguments: &[&str]) -> String {
        format!("{} {}", self.program.display(), arguments.join(" "))
    }

    /// Folders by package, where cargo says so: for sources that are not in its registry folder (those
    /// of `cargo vendor`, for one). Empty where it cannot say, for then a package is missing.
    fn package_folders(&self) -> BTreeMap<NameAndVersion, PathBuf> {
        let metadata = self.run(&["metadata", "--offline", "--locked", "--format-version", "1"]);
        let Some(metadata) = metadata.ok().and_then(|text| serde_json::from_str::<Metadata>(&text).ok()) else {
            return BTreeMap::new();
        };
        let folder = |package: MetadataPackage| {
            let folder = package.manifest_path.parent()?.to_path_buf();
            Some(((package.name, package.version), folder))
        };
        metadata.packages.into_iter().filter_map(folder).collect()
    }

    fn run(&self, arguments: &[&str]) -> Result<String, CorpusError> {
        let failed = |problem: String| CorpusError::Cargo { command: self.command(arguments), problem };
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(self.root)
            .output()
            .map_err(|error| failed(format!("could not be started: {error}")))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let first = complaint.lines().find(|line| line.starts_with("error")).unwrap_or("");
            return Err(failed(format!("ended with {}: {first}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

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

/// Of a line such as `serde_derive v1.0.229 (proc-macro) (*)`.
fn name_and_version(line: &str) -> Option<NameAndVersion> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name.to_string(), version.to_string()))
}

/// The packages of a lock file that come from a registry.
fn registry_packages(lock_file: &Path) -> Result<BTreeSet<NameAndVersion>, CorpusError> {
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
    Ok(parsed.package.into_iter().filter(is_registry).map(|package| (package.name, package.version)).collect())
}

/// The folders `registry/src/INDEX` of cargo's home, sorted.
fn registry_sources(cargo_home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cargo_home.join("registry/src")) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_tree_are_understood() {
        let pair = |name: &str, version: &str| Some((name.to_string(), version.to_string()));
        assert_eq!(name_and_version("ahash v0.8.12"), pair("ahash", "0.8.12"));
        assert_eq!(name_and_version("serde_derive v1.0.229 (proc-macro) (*)"), pair("serde_derive", "1.0.229"));
        assert_eq!(name_and_version("toml v1.2.1+spec-1.1.0"), pair("toml", "1.2.1+spec-1.1.0"));
        assert_eq!(name_and_version(""), None);
    }

    #[test]
    fn packages_of_the_workspace_are_not_from_a_registry() {
        let root = workspace_root().unwrap();
        let packages = registry_packages(&root.join("Cargo.lock")).unwrap();
        assert!(packages.iter().any(|(name, _)| name == "serde"));
        assert!(!packages.iter().any(|(name, _)| name == "experiments"));
    }

    #[test]
    fn a_damaged_lock_file_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Cargo.lock");
        fs::write(&path, "[[package]]\nname = 3\n").unwrap();
        let message = registry_packages(&path).unwrap_err().to_string();
        assert!(message.contains("Cargo.lock: found "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn a_failing_cargo_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut cargo = Cargo::of(folder.path());
        let message = cargo.built_packages().unwrap_err().to_string();
        assert!(message.contains("tree --offline --locked"), "{message}");
        assert!(message.contains("Cargo.toml"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        cargo.program = "no-such-cargo".into();
        let message = cargo.built_packages().unwrap_err().to_string();
        assert!(message.contains("could not be started"), "{message}");
    }
}
