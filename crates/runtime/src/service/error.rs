//! Why a service does not start or does not go on.

use std::io;

use thiserror::Error;

use crate::grpc::ServeError;

/// Why a service does not start, or does not go on.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A listener cannot be used.
    #[error("{listener} listener: {source}")]
    Listener {
        /// The listener's name.
        listener: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A gRPC server ended with an error.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A server or a background task ended before the service was stopped.
    #[error("the {task} task ended by itself")]
    Ended {
        /// The task's name.
        task: &'static str,
    },
    /// A server or a background task panicked.
    #[error("the {task} task panicked: {message}")]
    Panicked {
        /// The task's name.
        task: &'static str,
        /// The panic's message.
        message: String,
    },
}
