//! Listeners that ask who is there: TLS, certificates of clients, and every mechanism of SASL.

use std::path::Path;

use anyhow::Result;

use crate::certificates::{Authority, Issued};
use crate::workdir::free_port;

/// How a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The client shows nothing, and is nobody by name.
    Tls,
    /// The client's certificate says who it is.
    MutualTls,
    Plain,
    Scram256,
    Scram512,
    OauthBearer,
    TlsPlain,
    TlsScram256,
    TlsScram512,
    TlsOauthBearer,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 10] = [
        Door::Tls,
        Door::MutualTls,
        Door::Plain,
        Door::Scram256,
        Door::Scram512,
        Door::OauthBearer,
        Door::TlsPlain,
        Door::TlsScram256,
        Door::TlsScram512,
        Door::TlsOauthBearer,
    ];

    /// A name for topics and files.
    pub fn name(self) -> &'static str {
        match self {
            Door::Tls => "tls",
            Door::MutualTls => "mtls",
            Door::Plain => "plain",
            Door::Scram256 => "scram-256",
            Door::Scram512 => "scram-512",
            Door::OauthBearer => "oauthbearer",
            Door::TlsPlain => "tls-plain",
            Door::TlsScram256 => "tls-scram-256",
            Door::TlsScram512 => "tls-scram-512",
            Door::TlsOauthBearer => "tls-oauthbearer",
        }
    }

    fn listener(self) -> &'static str {
        match self {
            Door::Tls => "TLS",
            Door::MutualTls => "MTLS",
            Door::Plain | Door::Scram256 | Door::Scram512 | Door::OauthBearer => "SASL",
            _ => "SASLTLS",
        }
    }

    fn mechanism(self) -> Option<&'static str> {
        Some(match self {
            Door::Tls | Door::MutualTls => return None,
            Door::Plain | Door::TlsPlain => "PLAIN",
            Door::Scram256 | Door::TlsScram256 => "SCRAM-SHA-256",
            Door::Scram512 | Door::TlsScram512 => "SCRAM-SHA-512",
            Door::OauthBearer | Door::TlsOauthBearer => "OAUTHBEARER",
        })
    }
}

/// Listener and what it speaks.
const LISTENERS: [(&str, &str); 4] = [
    ("TLS", "SSL"),
    ("MTLS", "SSL"),
    ("SASL", "SASL_PLAINTEXT"),
    ("SASLTLS", "SASL_SSL"),
];

/// The listeners of one broker, and the authority that vouches for it.
#[derive(Debug)]
pub struct Doors {
    authority: Authority,
    ports: [u16; 4],
}

impl Doors {
    pub(super) fn new() -> Result<Self> {
        let mut ports = [0; 4];
        for port in &mut ports {
            *port = free_port()?;
        }
        Ok(Doors {
            authority: Authority::new("sandbox")?,
            ports,
        })
    }

    /// Who vouches for the broker, and is believed by it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `host:port` behind which a door is.
    pub fn bootstrap(&self, door: Door) -> String {
        let is_it = |(name, _): &(&str, &str)| *name == door.listener();
        let index = LISTENERS.iter().position(is_it).expect("it is a listener");
        format!("127.0.0.1:{}", self.ports[index])
    }

    /// The client's properties for coming in by this door, but for password and certificate.
    pub fn properties(&self, door: Door, user: &str) -> Vec<(&'static str, String)> {
        let (_, protocol) = LISTENERS
            .iter()
            .find(|(name, _)| *name == door.listener())
            .expect("it is a listener");
        let mut properties = vec![("security.protocol", (*protocol).to_owned())];
        if protocol.ends_with("SSL") {
            let ca_file = self.authority.ca_file();
            properties.push(("ssl.ca.location", ca_file.display().to_string()));
        }
        let Some(mechanism) = door.mechanism() else {
            return properties;
        };
        properties.push(("sasl.mechanism", mechanism.to_owned()));
        if mechanism == "OAUTHBEARER" {
            let yes = "true".to_owned();
            properties.push(("enable.sasl.oauthbearer.unsecure.jwt", yes));
            properties.push(("sasl.oauthbearer.config", format!("principal={user}")));
        } else {
            properties.push(("sasl.username", user.to_owned()));
        }
        properties
    }

    /// What the broker is told. `users`: names and passwords of those who come in by PLAIN.
    pub(super) fn broker_properties(
        &self,
        [broker, controller]: [u16; 2],
        users: &[(String, String)],
        dir: &Path,
    ) -> Result<Vec<(String, String)>> {
        let issued: Issued = self.authority.issue("broker")?;
        let key_store = dir.join("broker.pem");
        issued.write_key_store(&key_store)?;
        let own = LISTENERS.iter().zip(self.ports);
        let places: Vec<String> = own
            .map(|((name, _), port)| format!("{name}://127.0.0.1:{port}"))
            .collect();
        let map = LISTENERS.map(|(name, protocol)| format!("{name}:{protocol}"));
        let plain = format!("PLAINTEXT://127.0.0.1:{broker}");
        let places = places.join(",");
        let mut properties = vec![
            (
                "listeners".to_owned(),
                format!("{plain},CONTROLLER://127.0.0.1:{controller},{places}"),
            ),
            (
                "advertised.listeners".to_owned(),
                format!("{plain},{places}"),
            ),
            (
                "listener.security.protocol.map".to_owned(),
                format!("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{}", map.join(",")),
            ),
        ];
        let mut add = |name: &str, value: String| properties.push((name.to_owned(), value));
        add("ssl.keystore.type", "PEM".to_owned());
        add("ssl.keystore.location", key_store.display().to_string());
        add("ssl.truststore.type", "PEM".to_owned());
        let ca_file = self.authority.ca_file();
        add("ssl.truststore.location", ca_file.display().to_string());
        add("listener.name.mtls.ssl.client.auth", "required".to_owned());
        let mapping = "RULE:^CN=(.*?)$/$1/,DEFAULT";
        add("ssl.principal.mapping.rules", mapping.to_owned());
        let mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
        add("sasl.enabled.mechanisms", mechanisms.to_owned());
        for listener in ["sasl", "sasltls"] {
            for (mechanism, module) in modules(users) {
                let name = format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
                add(&name, module);
            }
        }
        Ok(properties)
    }
}

/// The login modules of the mechanisms.
fn modules(users: &[(String, String)]) -> [(&'static str, String); 4] {
    let library = "org.apache.kafka.common.security";
    let passwords = users
        .iter()
        .map(|(name, password)| format!("user_{name}=\"{password}\""));
    let passwords = passwords.collect::<Vec<_>>().join(" ");
    let scram = format!("{library}.scram.ScramLoginModule required;");
    [
        (
            "plain",
            format!("{library}.plain.PlainLoginModule required {passwords};"),
        ),
        ("scram-sha-256", scram.clone()),
        ("scram-sha-512", scram),
        (
            "oauthbearer",
            format!(
                "{library}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";"
            ),
        ),
    ]
}
