//! The unit and the image name files and rules that only this test sees before a user does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the unit and the image put the binary and the configuration.
const BINARY: &str = "/usr/bin/streamweir";
const CONFIG_DIRECTORY: &str = "/etc/streamweir";
const CONFIG: &str = "/etc/streamweir/config.toml";
const STATE_DIRECTORY: &str = "/var/lib/streamweir";

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The values of a key of the unit, in order.
fn unit_values(key: &str) -> Vec<String> {
    let unit = read("systemd/streamweir.service");
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The words after an instruction of the image, a line each.
fn image_instructions(instruction: &str) -> Vec<Vec<String>> {
    let image = read("docker/Dockerfile");
    let lines = image
        .lines()
        .filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
    lines
        .map(|words| words.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// `from` and `to` of every COPY.
fn copies() -> Vec<(String, String)> {
    let copy = |words: Vec<String>| match <[String; 2]>::try_from(words) {
        Ok([from, to]) => (from, to),
        Err(words) => panic!("COPY of one source without options is expected: {words:?}"),
    };
    image_instructions("COPY").into_iter().map(copy).collect()
}

#[test]
fn everything_the_image_copies_is_in_the_repository_or_is_the_release_binary() {
    let copies = copies();
    assert!(!copies.is_empty());
    for (from, _) in copies {
        if from == "target/release/streamweir" {
            let built = Path::new(env!("CARGO_BIN_EXE_streamweir"));
            assert_eq!(built.file_stem(), Path::new(&from).file_name());
        } else {
            assert!(repository().join(&from).exists(), "COPY {from}");
        }
    }
}

#[test]
fn everything_the_image_copies_passes_its_ignore_file() {
    let ignore = read("docker/Dockerfile.dockerignore");
    assert_eq!(
        ignore.lines().next(),
        Some("*"),
        "nothing but what is named"
    );
    for (from, _) in copies() {
        let named = format!("!{}", from.trim_end_matches('/'));
        assert!(ignore.lines().any(|line| line == named), "{named}");
    }
}

#[test]
fn the_image_puts_things_where_its_command_and_the_unit_look_for_them() {
    let targets: Vec<_> = copies().into_iter().map(|(_, to)| to).collect();
    for expected in [BINARY, CONFIG] {
        assert!(targets.iter().any(|to| to == expected), "{expected}");
    }
    let image = read("docker/Dockerfile");
    assert!(image.contains(&format!("ENTRYPOINT [\"{BINARY}\"]\n")));
    assert!(image.contains(&format!("CMD [\"run\", \"--config\", \"{CONFIG}\"]\n")));
    assert_eq!(image_instructions("WORKDIR"), [[CONFIG_DIRECTORY]]);
    assert_eq!(image_instructions("VOLUME"), [[STATE_DIRECTORY]]);
    assert_eq!(
        unit_values("ExecStart"),
        [format!("{BINARY} run --config {CONFIG}")]
    );
    assert_eq!(unit_values("WorkingDirectory"), [CONFIG_DIRECTORY]);
    assert_eq!(unit_values("StateDirectory"), ["streamweir"]);
}

#[test]
fn the_image_does_not_run_as_root() {
    let users = image_instructions("USER");
    let user = users.last().expect("a USER instruction");
    let id: u32 = user[0].parse().expect("the user by number");
    assert_ne!(id, 0);
}

#[test]
fn the_image_exposes_the_port_it_listens_at() {
    let ports = image_instructions("EXPOSE");
    assert_eq!(ports, [["9187"]]);
    let listen = image_instructions("ENV");
    assert_eq!(listen, [["STREAMWEIR__SERVICE__HTTP_LISTEN=0.0.0.0:9187"]]);
}

#[test]
fn the_unit_restarts_after_failures_but_not_after_those_that_want_a_person() {
    assert_eq!(unit_values("Restart"), ["on-failure"]);
    let never: Vec<_> = unit_values("RestartPreventExitStatus")
        .iter()
        .flat_map(|codes| codes.split_whitespace())
        .map(|code| code.parse::<i32>().expect("an exit code"))
        .collect();
    assert_eq!(
        never,
        [2, 4],
        "2 is usage or configuration, 4 is halted to protect data"
    );
}

#[test]
fn the_unit_leaves_time_to_drain() {
    assert_eq!(unit_values("KillSignal"), ["SIGTERM"]);
    let [stop_seconds] = &unit_values("TimeoutStopSec")[..] else {
        panic!("one TimeoutStopSec");
    };
    let stop_seconds: u32 = stop_seconds.parse().expect("seconds");
    assert!(stop_seconds > 30, "longer than shutdown_timeout's default");
}

#[test]
fn systemd_finds_nothing_to_complain_about_in_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("systemd-analyze is not installed: the unit was not verified");
        return;
    }
    // The binary is not installed here; the one that was built stands in for it.
    let unit = read("systemd/streamweir.service").replace(BINARY, env!("CARGO_BIN_EXE_streamweir"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("streamweir.service");
    fs::write(&path, unit).expect("the temporary directory is writable");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("systemd-analyze runs");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    let about_the_unit: Vec<_> = complaints
        .lines()
        .filter(|line| line.contains("streamweir"))
        .collect();
    assert!(about_the_unit.is_empty(), "{about_the_unit:#?}");
}

/// Files and directories that the Debian package is made of, and where they go.
fn package_assets() -> Vec<(String, String)> {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array();
    let text = |value: &toml::Value| value.as_str().expect("a text").to_owned();
    let asset = |asset: &toml::Value| (text(&asset[0]), text(&asset[1]));
    assets.expect("a list").iter().map(asset).collect()
}

#[test]
fn everything_the_package_installs_is_in_the_repository_or_is_the_release_binary() {
    let assets = package_assets();
    for (from, _) in &assets {
        let path = from.trim_end_matches("*.sql");
        let is_there = repository().join(path).exists();
        assert!(is_there || from == "target/release/streamweir", "{from}");
    }
    let goes_to = |directory: &str| {
        assets
            .iter()
            .any(|(_, to)| to.trim_end_matches('/') == directory)
    };
    for directory in [
        "usr/bin",
        "usr/lib/systemd/system",
        "etc/streamweir",
        "etc/streamweir/sql",
    ] {
        assert!(goes_to(directory), "{directory}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let text = read(&format!("packaging/deb/{script}"));
        let shell = Command::new("sh").args(["-n", "-c", &text]).status();
        assert!(shell.expect("a shell").success(), "{script}");
    }
}

#[test]
fn everything_the_compose_file_mounts_is_in_the_repository() {
    let compose = read("docker/compose.yaml");
    let mounts = compose.lines().filter_map(|line| {
        let mount = line.trim().strip_prefix("- ")?;
        mount.starts_with('.').then(|| mount.split(':').next())?
    });
    let mounts: Vec<&str> = mounts.collect();
    assert!(mounts.len() >= 5, "{mounts:?}");
    for mount in mounts {
        assert!(repository().join("docker").join(mount).exists(), "{mount}");
    }
    assert!(compose.contains("dockerfile: docker/Dockerfile"));
    assert!(compose.contains("stop_grace_period: 45s"));
}

#[test]
fn the_chart_asks_what_the_daemon_answers_and_leaves_time_to_drain() {
    let set = read("docker/helm/streamweir/templates/statefulset.yaml");
    for part in [
        "path: /livez",
        "path: /readyz",
        "STREAMWEIR__SERVICE__INSTANCE_ID",
        "fieldPath: metadata.name",
        "runAsUser: 10001",
        "readOnlyRootFilesystem: true",
        CONFIG,
        STATE_DIRECTORY,
    ] {
        assert!(set.contains(part), "{part}");
    }
    let values = read("docker/helm/streamweir/values.yaml");
    assert!(values.contains("terminationGracePeriodSeconds: 45"));
}

#[test]
fn systemd_is_told_that_the_service_runs_is_alive_and_stops() {
    use std::os::unix::net::UnixDatagram;

    assert_eq!(unit_values("Type"), ["notify"]);
    assert_eq!(
        unit_values("ExecStartPre"),
        [format!("{BINARY} check --config {CONFIG}")]
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    let patience = Some(std::time::Duration::from_secs(60));
    manager.set_read_timeout(patience).expect("a timeout");
    // Servers that are away are waited for, by a service that runs.
    let config = directory.path().join("config.toml");
    let text = format!(
        "[service]\nhttp_listen = \"127.0.0.1:0\"\nstate_dir = {:?}\n\
         [kafka]\nbootstrap_servers = [\"127.0.0.1:1\"]\n\
         [[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
         clickhouse = {{ url = \"http://127.0.0.1:1\", table = \"t\" }}\n",
        directory.path()
    );
    fs::write(&config, text).expect("the temporary directory is writable");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_streamweir"))
        .args(["run", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "100000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let next = || {
        let mut buffer = [0; 64];
        let length = manager
            .recv(&mut buffer)
            .expect("the service says something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(next(), "READY=1");
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    let pid = daemon.id().to_string();
    let sent = Command::new("kill").arg(&pid).status();
    assert!(sent.expect("kill starts").success());
    let last = (0..1_000)
        .map(|_| next())
        .find(|state| state != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert!(daemon.wait().expect("it ends").success());
}
