//! The world that tests live in.
//!
//! [`plane`] is the control plane of this test run, [`World`] is what one test has of it: a namespace, a platform of its
//! own behind a port that the operator was told to trust, and the means to wait for something to become true.

mod control_plane;
pub(crate) mod expectations;
mod plane;
mod serving;
mod world;

pub(crate) use control_plane::ControlPlane;
pub(crate) use plane::{operator_log, plane, scoped_plane, take_platform, unserved_plane};
pub(crate) use world::{World, condition, eventually, is_ready, no_value, value};
