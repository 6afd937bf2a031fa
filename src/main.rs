//! The `streamweir` binary: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    streamweir::cli::main()
}
