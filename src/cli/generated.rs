//! `streamweir completions` and `streamweir man`: made of the same definitions that read the command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::exit;

/// The executable's name.
const NAME: &str = "streamweir";
/// What the help of no option can tell of.
pub(super) const ENVIRONMENT_HELP: &str = "\
Environment:
  STREAMWEIR__SECTION__KEY  overrides a key of the file, as in STREAMWEIR__CLICKHOUSE__URL
  STREAMWEIR_LOG            the log filter [default: service.log_level], as in debug or
                            info,streamweir::sink=debug

Exit codes:
  0 done, 1 anything else, 2 usage or configuration, 3 a dependency was not reached in time,
  4 halted to protect data";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut command: clap::Command) -> ExitCode {
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut command, NAME, &mut script);
        print(&script)
    }
}

/// One page: the program, then each of its commands.
pub(super) fn man(mut command: clap::Command) -> ExitCode {
    command.build();
    let mut page = vec![];
    match render(&command, &mut page) {
        Ok(()) => print(&page),
        Err(error) => failed(&error),
    }
}

fn render(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let whole = clap_mangen::Man::new(command.clone());
    whole.render_title(page)?;
    whole.render_name_section(page)?;
    whole.render_synopsis_section(page)?;
    whole.render_description_section(page)?;
    whole.render_options_section(page)?;
    writeln!(page, ".SH COMMANDS")?;
    render_commands(command, NAME, page)?;
    whole.render_extra_section(page)?;
    whole.render_version_section(page)
}

fn render_commands(command: &clap::Command, path: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let man = clap_mangen::Man::new(sub.clone().display_name(path.clone()));
        let mut own = vec![];
        man.render_description_section(&mut own)?;
        man.render_options_section(&mut own)?;
        // Its parts are the second level here, and the preamble has been written.
        let own = String::from_utf8_lossy(&own);
        let own = own.lines().filter(|line| !is_heading(line));
        writeln!(page, ".SS \"{path}\"")?;
        for line in own {
            writeln!(page, "{line}")?;
        }
        render_commands(sub, &path, page)?;
    }
    Ok(())
}

fn is_heading(line: &str) -> bool {
    [".SH", ".ie ", ".el "]
        .iter()
        .any(|start| line.starts_with(start))
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        Ok(()) => ExitCode::from(exit::DONE),
        // `streamweir man | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(exit::DONE),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(exit::OTHER)
}
