//! Certificates in files: who is trusted, and what is shown to a server that wants to know who comes.

use std::path::PathBuf;

use super::section::Section;
use super::value::Text;

/// Files in PEM; none of them: the machine's trusted certificates, and nothing is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the server's is to be signed by; none: the machine's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, where the server wants one, and its key.
    pub identity: Option<Identity>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

const FILE: Text = Text {
    allowed: "the path of a file, or \"\" for none",
    check: |text| !text.contains('\0'),
};

const KEYS: [&str; 3] = ["ca_file", "cert_file", "key_file"];

impl TlsFiles {
    /// Reads its keys of a section.
    pub(super) fn read(section: &mut Section<'_>) -> TlsFiles {
        let [ca_file, cert_file, key_file] = KEYS.map(|key| read_file(section, key));
        let identity = match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => Some(Identity {
                cert_file,
                key_file,
            }),
            (Some(_), None) => {
                section.problem("key_file", "is required together with cert_file");
                None
            }
            (None, Some(_)) => {
                section.problem("cert_file", "is required together with key_file");
                None
            }
            (None, None) => None,
        };
        TlsFiles { ca_file, identity }
    }

    /// Whether nothing but the machine's certificates is used.
    pub(crate) fn is_empty(&self) -> bool {
        *self == TlsFiles::default()
    }
}

/// The path of a file that can be read, where one is named.
pub(super) fn read_file(section: &mut Section<'_>, key: &str) -> Option<PathBuf> {
    let name = section.take(key, FILE).filter(|name| !name.is_empty())?;
    let path = section.reader.directory.join(name);
    if let Err(error) = std::fs::File::open(&path) {
        let path = path.display();
        section.problem(
            key,
            format!("must name a file that can be read: {path}: {error}"),
        );
    }
    Some(path)
}
