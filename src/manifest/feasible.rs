//! What the operator would refuse although the API server takes it: the same plans, made and thrown away.

use std::path::Path;

use super::Portfolio;
use super::document::without_place;
use super::finding::{Finding, Severity};
use crate::api::Settings;
use crate::api::settings::AcceleratorProfile;
use crate::plan::serving;

/// The installer's settings from a file.
///
/// # Errors
/// A finding with file, line and field, when the file cannot be read or says something that is not a setting.
pub fn settings(path: &Path) -> Result<Settings, Box<Finding>> {
    let file = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Box::new(Finding::of_file(&file, error.to_string(), "name the settings file")))?;
    // An empty file decides nothing.
    if text
        .lines()
        .all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Settings::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let line = error.location().map(|at| at.line());
        Box::new(Finding {
            line,
            ..Finding::of_file(&file, without_place(&error), "correct the settings")
        })
    })
}

impl Portfolio {
    /// Adds what the operator would refuse under these settings. Without settings any accelerator profile may exist.
    pub fn check_feasible(&mut self, settings: Option<&Settings>) {
        let assumed = settings.cloned().unwrap_or_else(|| self.any_profile());
        for model in &self.models {
            if let Some(own) = &model.object.spec.self_hosted
                && let Err(invalid) = serving::plan(&model.object, own, &assumed)
            {
                self.findings.push(model.origin.finding(Severity::Error, invalid));
            }
        }
        self.findings.sort();
    }

    fn any_profile(&self) -> Settings {
        let named = self
            .models
            .iter()
            .filter_map(|m| m.object.spec.self_hosted.as_ref()?.accelerator.as_ref());
        Settings {
            accelerator_profiles: named.map(|a| (a.profile.clone(), AcceleratorProfile::default())).collect(),
            allow_anonymous: true,
            ..Settings::default()
        }
    }
}
