//! `man`: manual pages.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use serde_json::json;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Print the manual page of strongroom or of a verb, or write all of them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom man | man -l -
  strongroom man create | man -l -
  strongroom man --directory ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The verb, and the verb below it
    verb: Vec<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "verb")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let mut root = Cli::command();
        root.build();
        if let Some(directory) = &self.directory {
            let doing = format!("writing pages to {}", directory.display());
            clap_mangen::generate_to(root, directory).map_err(Failure::io(doing))?;
            let json = json!({ "directory": directory.display().to_string() });
            return out.done(&json, format_args!("wrote the pages to {}", directory.display()));
        }
        let mut command = &root;
        for name in &self.verb {
            command = command.find_subcommand(name).ok_or_else(|| {
                Failure::not_found(format!("there is no verb {name:?}"))
                    .hint("`strongroom --help` lists them")
            })?;
        }
        out.bytes(&page(command)?)
    }
}

fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(command.clone()).render(&mut page);
    written.map_err(Failure::io("rendering the page"))?;
    Ok(page)
}
