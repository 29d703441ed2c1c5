//! `relayctl completion` and `relayctl man`: made from the definition of the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueHint};
use clap_complete::Shell;

use super::Cli;
use super::exit::Failure;
use super::terminal::Terminal;

/// Options of `completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Options of `man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write one page per command into this directory, instead of the main one to standard output
    #[arg(long, value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(super) fn completion(
    args: &CompletionArgs,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "relayctl", &mut script);
    Ok(terminal.out.write_all(&script)?)
}

pub(super) fn man(args: &ManArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Some(dir) = &args.dir else {
        return Ok(clap_mangen::Man::new(Cli::command()).render(&mut terminal.out)?);
    };
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    terminal.note(&format!("pages are written to {}", dir.display()));
    Ok(())
}
