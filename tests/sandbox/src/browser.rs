//! Debian's Chromium without a window, driven over WebDriver: <https://www.w3.org/TR/webdriver2/>.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde_json::{Value, json};
use ureq::Agent;

use crate::process::Process;
use crate::wait;
use crate::workdir::{ScratchDir, free_port};

/// Starting a browser on a busy machine takes a while.
const START_TIMEOUT: Duration = Duration::from_secs(180);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The keys that tests press, as WebDriver names them.
pub mod keys {
    /// To the next element.
    pub const TAB: &str = "\u{e004}";
    /// Activates what has the focus.
    pub const ENTER: &str = "\u{e007}";
    /// The space bar.
    pub const SPACE: &str = " ";
}

/// One browser with one tab. It ends with this value.
#[derive(Debug)]
pub struct Browser {
    agent: Agent,
    session: String,
    driver: Process,
    _profile: ScratchDir,
}

impl Browser {
    /// Starts the driver and through it the browser.
    ///
    /// # Errors
    /// One of them is not installed, or does not start.
    pub fn start() -> Result<Browser> {
        let port = free_port()?;
        let profile = ScratchDir::create("browser")?;
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .env("HOME", profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = Process::spawn(command)?;
        let config = Agent::config_builder()
            .timeout_global(Some(COMMAND_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let agent = Agent::new_with_config(config);
        let base = format!("http://127.0.0.1:{port}");
        wait::until("chromedriver answers", START_TIMEOUT, || {
            let status = send(&agent, "GET", &format!("{base}/status"), None).ok()?;
            (status["ready"] == true).then_some(())
        })?;
        let arguments = [
            "--headless=new",
            // The sandbox of the browser needs rights that a container does not have.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
        ];
        let mut arguments: Vec<_> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let session = send(&agent, "POST", &format!("{base}/session"), Some(&wanted))?;
        let id = session["sessionId"].as_str().context("no session")?;
        Ok(Browser {
            session: format!("{base}/session/{id}"),
            agent,
            driver,
            _profile: profile,
        })
    }

    /// Opens an address.
    ///
    /// # Errors
    /// As for every command: the browser refuses it or has ended.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// Runs the body of a function in the page; promises are awaited.
    ///
    /// # Errors
    /// The script throws.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        let body = json!({ "script": script, "args": arguments });
        self.post("execute/sync", &body)
    }

    /// The text of all elements that a selector of CSS finds, as it is seen, one line each.
    ///
    /// # Errors
    /// The selector is none.
    pub fn text(&self, selector: &str) -> Result<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')";
        let text = self.run(script, &[json!(selector)])?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the first element that a selector finds.
    ///
    /// # Errors
    /// There is none, or it cannot be clicked.
    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("element/{element}/click"), &json!({}))
            .map(drop)
    }

    /// Types into the first element that a selector finds.
    ///
    /// # Errors
    /// There is none, or it takes no text.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(
            &format!("element/{element}/value"),
            &json!({ "text": text }),
        )
        .map(drop)
    }

    /// Presses a key and lets it go, wherever the focus is.
    ///
    /// # Errors
    /// The browser has ended.
    pub fn press(&self, key: &str) -> Result<()> {
        let actions = [
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("actions", &json!({ "actions": [keyboard] }))
            .map(drop)
    }

    /// Answers a question of the page with yes.
    ///
    /// # Errors
    /// Nothing is asked.
    pub fn accept(&self) -> Result<()> {
        self.post("alert/accept", &json!({})).map(drop)
    }

    /// Makes the page this large, in CSS pixels.
    ///
    /// # Errors
    /// The browser has ended.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics)
    }

    /// Has the page be shown to somebody who prefers `dark` or `light`.
    ///
    /// # Errors
    /// The browser has ended.
    pub fn prefer(&self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        )
    }

    /// Writes what is seen as a PNG.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn screenshot(&self, path: &Path) -> Result<()> {
        let picture = self.command("GET", "screenshot", None)?;
        let picture = picture.as_str().context("no picture")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture)?;
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }

    /// What the console has said since the last call, a line each: errors of scripts, what the page's policy
    /// has stopped, what could not be loaded.
    ///
    /// # Errors
    /// The browser has ended.
    pub fn console(&self) -> Result<Vec<String>> {
        let entries = self.post("se/log", &json!({ "type": "browser" }))?;
        let entries = entries.as_array().context("no list")?;
        let line = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("level"), text("source"), text("message"))
        };
        Ok(entries.iter().map(line).collect())
    }

    fn element(&self, selector: &str) -> Result<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let element = self.post("element", &body)?;
        let id = element[ELEMENT].as_str().context("no element")?;
        Ok(id.to_owned())
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<()> {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("goog/cdp/execute", &body).map(drop)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.command("POST", path, Some(body))
    }

    fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/{path}", self.session);
        send(&self.agent, method, &url, body).with_context(|| format!("{method} {path}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; the driver alone would leave it behind.
        let _ = send(&self.agent, "DELETE", &self.session, None);
        self.driver.terminate();
        let _ = self.driver.wait(Duration::from_secs(5));
    }
}

/// Sends a command; its value, or what the driver says.
fn send(agent: &Agent, method: &str, url: &str, body: Option<&Value>) -> Result<Value> {
    let body = body.map_or(String::new(), Value::to_string);
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(body)?;
    let mut answer = agent.run(request)?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_string()?;
    let answered: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let value = answered["value"].clone();
    match value["error"].as_str() {
        Some(error) => bail!("{error}: {}", value["message"].as_str().unwrap_or_default()),
        None => Ok(value),
    }
}
