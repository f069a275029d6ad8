//! Merges the four layers into one text per variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use super::dotenv;
use super::problem::Problem;
use super::setting::{SETTINGS, Setting};

/// The settings that were given as flags. They may stand before or after the subcommand.
#[derive(Clone, Default)]
pub struct Flags {
    given: BTreeMap<&'static str, String>,
    config: Option<PathBuf>,
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flags").field("given", &self.given.keys()).field("config", &self.config).finish()
    }
}

const CONFIG_FLAG: &str = "config";
/// The name of the first layer.
pub(super) const FLAG: &str = "flag";

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(CONFIG_FLAG)
            .long(CONFIG_FLAG)
            .value_name("FILE")
            .help("Settings file [default: roster.toml, when it is there]")
            .value_parser(ValueParser::path_buf());
        let flags = SETTINGS.iter().map(|setting| {
            Arg::new(setting.variable)
                .long(setting.flag)
                .value_name("VALUE")
                .help(format!("{} [env: {}]", setting.help, setting.variable))
                // A PEM text begins with hyphens.
                .allow_hyphen_values(setting.variable == "CLERK_JWT_KEY")
        });
        std::iter::once(file).chain(flags).fold(command, |command, arg| {
            command.arg(arg.global(true).hide_short_help(true).help_heading("Settings"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().filter_map(|setting| {
            let text = matches.get_one::<String>(setting.variable)?;
            Some((setting.variable, text.clone()))
        });
        Ok(Self { given: given.collect(), config: matches.get_one::<PathBuf>(CONFIG_FLAG).cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// One text per variable that is set, and what was wrong with the places they came from.
#[derive(Default)]
pub struct Values {
    set: BTreeMap<&'static str, (String, &'static str)>,
    pub(super) problems: Vec<Problem>,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("set", &self.set.keys()).field("problems", &self.problems).finish()
    }
}

impl Values {
    /// Merges flags, the environment, and `.env` and `roster.toml` of a folder. The first layer that has a
    /// variable wins.
    pub fn gather(flags: &Flags, environment: &dyn Fn(&str) -> Option<OsString>, folder: &Path) -> Self {
        let mut values = Self::default();
        for (variable, text) in &flags.given {
            values.offer(variable, text, FLAG);
        }
        for setting in SETTINGS {
            match environment(setting.variable).map(OsString::into_string) {
                Some(Ok(text)) => values.offer(setting.variable, &text, "environment"),
                Some(Err(_)) => {
                    values.complain(format!("{} is not UTF-8 in the environment", setting.variable));
                }
                None => {}
            }
        }
        values.read_dot_env(&folder.join(".env"));
        match &flags.config {
            Some(path) => values.read_file(&folder.join(path), true),
            None => values.read_file(&folder.join("roster.toml"), false),
        }
        values
    }

    /// Forgets everything but these variables.
    #[must_use]
    pub fn keep(mut self, variables: &[&str]) -> Self {
        self.set.retain(|variable, _| variables.contains(variable));
        self
    }

    /// Whether somebody has chosen a value for a variable.
    pub fn is_set(&self, variable: &str) -> bool {
        self.set.contains_key(variable)
    }

    /// The text of a variable, and the name of the layer that it came from.
    pub(super) fn get(&self, variable: &str) -> Option<(&str, &'static str)> {
        self.set.get(variable).map(|(text, layer)| (text.as_str(), *layer))
    }

    fn complain(&mut self, sentence: impl Into<String>) {
        self.problems.push(Problem::new(sentence));
    }

    /// An empty value counts as unset, so that `NAME=` in a file or a compose template does no harm.
    fn offer(&mut self, variable: &str, text: &str, layer: &'static str) {
        let text = text.trim();
        if let (Some(setting), false) = (Setting::named(variable), text.is_empty()) {
            self.set.entry(setting.variable).or_insert_with(|| (text.to_owned(), layer));
        }
    }

    /// Reads a file that may be missing.
    fn read(&mut self, path: &Path, needed: bool) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound && !needed => None,
            Err(error) => {
                self.complain(format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// The process environment is left alone: values of `.env` reach this program only.
    fn read_dot_env(&mut self, path: &Path) {
        let Some(text) = self.read(path, false) else { return };
        // The last line of a name wins, an empty one too.
        let entries: BTreeMap<_, _> = dotenv::entries(&text).into_iter().collect();
        for (name, value) in &entries {
            self.offer(name, value, ".env");
        }
    }

    fn read_file(&mut self, path: &Path, needed: bool) {
        let Some(text) = self.read(path, needed) else { return };
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
        let table: toml::Table = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => {
                // Only the place: the error's own text quotes the line.
                let at = error.span().map_or(0, |span| span.start);
                let line = text.get(..at).unwrap_or(&text).matches('\n').count() + 1;
                self.complain(format!(
                    "{name} line {line} is not TOML; for example listen = \"127.0.0.1:8080\""
                ));
                return;
            }
        };
        for (key, value) in &table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key() == *key) else {
                self.complain(format!(
                    "{name} has an unknown key `{key}`; keys are the flags with underscores, for example listen"
                ));
                continue;
            };
            match scalar_or_list(value) {
                Some(text) => self.offer(setting.variable, &text, "settings file"),
                None => self.complain(format!(
                    "{name}: `{key}` ({}) must be a text, a whole number, true, false, or a list of texts",
                    setting.variable
                )),
            }
        }
    }
}

fn scalar_or_list(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
