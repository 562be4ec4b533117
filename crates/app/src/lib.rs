//! Deployed applications: their configuration, how they are deployed, and how they come back when the node starts.
//!
//! It answers no HTTP: what arrives here is a component and a text.

mod applications;
mod check;
mod children;
mod config;
mod facets;
mod files;
#[cfg(test)]
mod fuzz;
mod links;
mod plan;
mod strict;
mod units;

pub use applications::{Application, Applications, Config, Deploy, Deployed, EarlierVersion, OnIncompatible, Status};
pub use config::{AppConfig, LimitsConfig};
pub use strict::{ConfigError, parse as parse_strict};
pub use units::{ByteSize, Duration};
