//! Certificates for one test: an authority of its own, and what it vouches for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::workdir::ScratchDir;

/// Who vouches for servers and clients. Its files are removed when it is dropped.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    dir: ScratchDir,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Issued {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// # Errors
    /// The files cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let dir = ScratchDir::create("certificates")?;
        fs::write(dir.path().join("ca.pem"), certificate.pem())?;
        Ok(Authority {
            issuer: Issuer::new(params, key),
            certificate,
            dir,
        })
    }

    /// Its own certificate, which whoever trusts it must have.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The same as text.
    pub fn ca_pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for this name that servers on this machine and clients may show.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        self.issue_as(name, name)
    }

    /// The same, in files of another name.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn issue_as(&self, name: &str, file: &str) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let issued = Issued {
            cert_file: self.dir.path().join(format!("{file}.cert.pem")),
            key_file: self.dir.path().join(format!("{file}.key.pem")),
        };
        fs::write(&issued.cert_file, certificate.pem())?;
        fs::write(&issued.key_file, key.serialize_pem())?;
        Ok(issued)
    }
}

impl Issued {
    /// Key and certificate in one file, as Java reads them.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write_key_store(&self, path: &Path) -> Result<()> {
        let texts = [
            fs::read_to_string(&self.key_file)?,
            fs::read_to_string(&self.cert_file)?,
        ];
        Ok(fs::write(path, texts.concat())?)
    }
}
