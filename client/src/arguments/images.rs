//! The command line of `kiln images`. Doc comments are the help.

use clap::{Args, Subcommand};

const HELP: &str = "\
The post-processor kiln-image registers what a build has made under a name and channels, and `data \"kiln-image\"` of a later
build finds it. Each user has a registry of their own. To remove an image from it leaves the image's file where it is.

Examples:
  kiln images
  kiln images rm base@stable
  kiln images prune";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = HELP)]
pub(crate) struct ImagesArguments {
    #[command(subcommand)]
    pub(crate) command: Option<ImagesCommand>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Forget images; their files stay
    Rm {
        /// The images: a name in all its channels, or in one
        #[arg(value_name = "name[@channel]", required = true)]
        images: Vec<String>,
    },
    /// Forget every image whose file is gone, or is another by now
    Prune,
}
