//! Created pipelines on disk: one file each, written whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::order::Order;
use crate::config::Service;

/// A created pipeline that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    /// What it says, or why it cannot be read.
    pub(super) order: Result<Order, String>,
}

/// The directory of the created pipelines of this instance.
#[derive(Debug)]
pub(super) struct Keep {
    directory: PathBuf,
}

impl Keep {
    /// Instances that share a state directory have created pipelines of their own.
    pub(super) fn new(service: &Service) -> Self {
        let directory = service.state_dir.join("pipelines");
        let directory = match &service.instance_id {
            Some(instance) => directory.join(instance),
            None => directory,
        };
        Keep { directory }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// Everything that is kept, by name.
    pub(super) fn load(&self) -> io::Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries?,
        };
        let mut all = vec![];
        for entry in entries {
            let path = entry?.path();
            let is_kept = path
                .extension()
                .is_some_and(|extension| extension == "json");
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let Some(name) = name.filter(|_| is_kept) else {
                continue;
            };
            all.push(Kept {
                name: name.to_owned(),
                order: read(&path, name),
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Everything that is kept, by whichever instance that shares the state directory; this one's first.
    pub(super) fn load_all(service: &Service) -> io::Result<Vec<Kept>> {
        let directory = service.state_dir.join("pipelines");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries?,
        };
        let own = Keep::new(service);
        let mut others = vec![];
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                others.push(entry.path());
            }
        }
        others.push(directory);
        others.retain(|other| *other != own.directory);
        let mut all = own.load()?;
        for directory in others {
            all.append(&mut Keep { directory }.load()?);
        }
        Ok(all)
    }

    /// Returns once the pipeline is on disk, whole.
    pub(super) fn put(&self, name: &str, order: &Order) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // No name of a pipeline begins with a dot.
        let partial = self.directory.join(format!(".{name}.partial"));
        let text = serde_json::to_vec_pretty(&order.kept())?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        // It may hold passwords.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&partial)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&partial, self.path(name))?;
        self.sync()
    }

    /// Returns once it is gone.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        self.sync()
    }

    /// Renames the file, so that it is no created pipeline any more; returns the new path.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        let aside = self.directory.join(format!("{name}.json.set-aside"));
        fs::rename(self.path(name), &aside)?;
        self.sync()?;
        Ok(aside)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn read(path: &Path, name: &str) -> Result<Order, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let body = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let order = Order::read_kept(body).and_then(|order| order.named(name));
    order.map_err(|faults| {
        let faults = faults.iter().map(|f| format!("{}: {}", f.path, f.message));
        faults.collect::<Vec<_>>().join("; ")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_whole_and_half_written_files_are_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep {
            directory: directory.path().join("pipelines"),
        };
        assert!(keep.load().unwrap().is_empty());
        let order = |name: &str| {
            let pipeline = json!({ "name": name, "kind": "cdc" });
            Order::read(json!({ "pipeline": pipeline, "start": false })).unwrap()
        };
        for name in ["b", "a", "c"] {
            keep.put(name, &order(name)).unwrap();
        }
        keep.put("a", &order("a")).unwrap();
        keep.remove("b").unwrap();
        keep.remove("b").unwrap();
        keep.set_aside("c").unwrap();
        fs::write(keep.directory.join(".d.partial"), "{\"pipel").unwrap();
        fs::write(keep.path("e"), "{\"pipel").unwrap();
        fs::write(keep.path("f"), r#"{"name":"other","kind":"cdc"}"#).unwrap();
        let kept = keep.load().unwrap();
        let names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, ["a", "e", "f"]);
        assert_eq!(kept[0].order.as_ref().unwrap(), &order("a"));
        assert!(kept[1].order.is_err() && kept[2].order.is_err());
    }
}
