//! Arguments that many commands need: the committee's chain and contracts, and how to connect to
//! members and aggregators.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dac_chain::{CertificateLogReader, Endpoints, RegistryReader as _, RegistryView, RpcRegistryReader};
use dac_cli::Failure;
use dac_client::files::{Deployment, read_bounded};
use dac_client::{AggregatorClient, Dialer, Directory, EndpointPolicy, EndpointUrl};
use dac_runtime::tls::{ClientTls, IdentityFiles};
use dac_types::{Address, Domain};
use tonic::transport::Certificate;

use crate::exit::CliError;

/// The deadline of one call to L1.
pub(crate) const RPC_TIMEOUT: Duration = Duration::from_secs(20);
/// The deadline of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a file of certificate authorities.
const AUTHORITY_MAX_BYTES: u64 = 1 << 20;

/// Parses an argument that is an address.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    dac_cli::address(text)
}

/// The committee's chain and contracts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Committee")]
pub(crate) struct ChainArgs {
    /// File written by `dac admin deploy`; the options below override it.
    #[arg(long, env = "DAC_DEPLOYMENT", value_name = "FILE")]
    pub(crate) deployment: Option<PathBuf>,
    /// JSON-RPC endpoint of L1.
    #[arg(long, visible_alias = "rpc", env = "DAC_RPC_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) rpc_url: Option<String>,
    /// Address of the committee registry.
    #[arg(long, env = "DAC_REGISTRY", value_name = "ADDRESS", value_parser = address)]
    pub(crate) registry: Option<Address>,
    /// Address of the certificate log.
    #[arg(long, env = "DAC_CERTIFICATE_LOG", value_name = "ADDRESS", value_parser = address)]
    pub(crate) certificate_log: Option<Address>,
}

/// How to connect to members and aggregators.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct DialArgs {
    /// Connect to members at private and loopback addresses, too. Members choose their URLs:
    /// without this, a member cannot direct your connections to other hosts of your private
    /// network. Implied when L1 itself is reached over loopback.
    #[arg(long, env = "DAC_ALLOW_PRIVATE_ENDPOINTS")]
    pub(crate) allow_private_endpoints: bool,
    /// Certificate authorities to trust for https, PEM, in place of those of the operating system.
    /// May be repeated, and a file may hold several, so that one command can ask members with
    /// authorities of their own.
    #[arg(long, env = "DAC_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Vec<PathBuf>,
    /// Client certificate for servers that ask for one, PEM.
    #[arg(long, env = "DAC_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Private key of that certificate, PEM, readable by its owner alone.
    #[arg(long, env = "DAC_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// A connection to L1, and the addresses of the committee's contracts.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) endpoints: Endpoints,
    pub(crate) registry: Address,
    pub(crate) certificate_log: Option<Address>,
    pub(crate) deployed_at_block: u64,
    pub(crate) rpc_url: String,
}

impl ChainArgs {
    /// Reads the deployment file, if one is named.
    pub(crate) fn file(&self) -> Result<Option<Deployment>, CliError> {
        Ok(self.deployment.as_deref().map(Deployment::read).transpose()?)
    }

    /// Returns the RPC endpoint from the options or the file.
    pub(crate) fn rpc_url(&self, file: Option<&Deployment>) -> Result<String, Failure> {
        self.rpc_url.clone().or_else(|| file.and_then(|file| file.rpc_url.clone())).ok_or_else(|| {
            Failure::usage("no JSON-RPC endpoint of L1 is given")
                .hint("--rpc-url URL, DAC_RPC_URL, or --deployment FILE with an rpc_url")
        })
    }

    /// Connects to L1 and checks that it is the right chain.
    pub(crate) async fn connect(&self) -> Result<Chain, CliError> {
        let file = self.file()?;
        let rpc_url = self.rpc_url(file.as_ref())?;
        let registry = self.registry.or(file.as_ref().map(|file| file.registry)).ok_or_else(|| {
            Failure::usage("no committee registry is given")
                .hint("--registry ADDRESS, DAC_REGISTRY, or --deployment FILE")
        })?;
        let endpoints = Endpoints::discover(&[&rpc_url], RPC_TIMEOUT).await?;
        if let Some(file) = &file
            && file.chain_id != endpoints.chain_id()
        {
            let (expected, got) = (file.chain_id, endpoints.chain_id());
            return Err(Failure::usage(format!(
                "the deployment is on chain {expected}, the RPC endpoint serves {got}"
            ))
            .into());
        }
        // The file's log belongs to the file's registry, which the options may override.
        let of_file = file.as_ref().filter(|file| file.registry == registry);
        Ok(Chain {
            endpoints,
            registry,
            certificate_log: self.certificate_log.or(of_file.map(|file| file.certificate_log)),
            deployed_at_block: of_file.map_or(0, |file| file.deployed_at_block),
            rpc_url,
        })
    }
}

impl Chain {
    /// Returns the domain in which the committee's signatures are valid.
    pub(crate) fn domain(&self) -> Domain {
        Domain { chain_id: self.endpoints.chain_id(), registry: self.registry }
    }

    /// Reads the registry at the newest block.
    pub(crate) async fn view(&self) -> Result<RegistryView, CliError> {
        Ok(RpcRegistryReader::new(self.endpoints.clone(), self.registry).read(0).await?)
    }

    /// Returns the log if its address is known, and checks that it belongs to the registry.
    pub(crate) async fn log(&self) -> Result<Option<CertificateLogReader>, CliError> {
        let Some(address) = self.certificate_log else { return Ok(None) };
        let log = CertificateLogReader::new(self.endpoints.clone(), address);
        log.check_registry(self.registry).await?;
        Ok(Some(log))
    }

    /// Returns the log, or an error that it is missing.
    pub(crate) async fn required_log(&self) -> Result<CertificateLogReader, CliError> {
        Ok(self.log().await?.ok_or_else(|| {
            Failure::usage("no certificate log is given")
                .hint("--certificate-log ADDRESS, DAC_CERTIFICATE_LOG, or --deployment FILE")
        })?)
    }
}

/// Makes a directory of the registry's committees.
pub(crate) fn directory(view: &RegistryView) -> Result<Arc<Directory>, CliError> {
    let directory =
        Directory::from_view(view).map_err(|error| Failure::usage(format!("the registry: {error}")))?;
    Ok(Arc::new(directory))
}

impl DialArgs {
    /// Makes a dialer for members, whose URLs come from the registry.
    pub(crate) fn for_members(&self, rpc_url: &str) -> Result<Dialer, CliError> {
        self.dialer(EndpointPolicy::for_rpc(self.allow_private_endpoints, rpc_url))
    }

    /// Makes a dialer for a URL that the user gave.
    pub(crate) fn for_given_url(&self) -> Result<Dialer, CliError> {
        self.dialer(EndpointPolicy::AllowPrivate)
    }

    /// Makes a client of the aggregator that the user named.
    pub(crate) fn aggregator(&self, url: &EndpointUrl) -> Result<AggregatorClient, CliError> {
        Ok(AggregatorClient::new(url.clone(), self.for_given_url()?))
    }

    fn dialer(&self, policy: EndpointPolicy) -> Result<Dialer, CliError> {
        let identity = self
            .tls_certificate
            .clone()
            .zip(self.tls_key.clone())
            .map(|(certificate, key)| IdentityFiles { certificate, key });
        let (first, more) = match self.tls_ca.split_first() {
            Some((first, more)) => (Some(first.clone()), more),
            None => (None, &[][..]),
        };
        let mut tls = ClientTls { ca: first, identity }.load(HANDSHAKE_TIMEOUT).map_err(Failure::usage)?;
        for file in more {
            tls = tls.ca_certificate(Certificate::from_pem(read_bounded(file, AUTHORITY_MAX_BYTES)?));
        }
        Ok(Dialer::new(policy).tls(tls))
    }
}
