//! Where documents may not send the daemon.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trimtab::adapters::metrics::Meter;
use trimtab::adapters::outgoing::Destinations;
use trimtab::adapters::traffic::router::RouterTraffic;
use trimtab::domain::analysis::{Measure, Measurement, Outcome};
use trimtab::ports::metrics::{MeasureRequest, Metrics};

/// Answers as told and counts who comes.
async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&head[..read])).as_bytes()).await;
        }
    });
    (address, count)
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()
}

async fn measure(allow: &[&str], url: String) -> Measurement {
    let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
    let meter = Meter::new(Arc::new(RouterTraffic::new([], "ssrf")), Destinations::new(&allow).unwrap());
    let timeout = "5s".parse().unwrap();
    let request = MeasureRequest {
        unit: "web/dev/default".parse().unwrap(),
        measure: Measure::Http { url, timeout },
        target: "aaaaaaaaaaaa".into(),
        stable: None,
        baseline: None,
    };
    meter.measure(&request).await
}

#[tokio::test]
async fn fault_29_metadata_is_not_asked_by_any_spelling_and_a_redirect_does_not_lead_there() {
    for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "[fd00:ec2::254]", "0.0.0.0"] {
        let measured = measure(&[], format!("http://{host}:1/latest/meta-data/")).await;
        assert_eq!(measured.outcome, Outcome::Inconclusive, "{measured:?}");
        assert!(measured.detail.contains("not asked"), "{host}: {measured:?}");
    }
    // The document may name the loopback; what answers there may not send on to the metadata service.
    let (address, count) = server(|_| {
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            .into()
    })
    .await;
    let measured = measure(&[], format!("http://{address}/")).await;
    assert_eq!(measured.outcome, Outcome::Inconclusive, "{measured:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let (address, _) = server(|_| ok()).await;
    assert_eq!(measure(&[], format!("http://{address}/")).await.outcome, Outcome::Success);
}

/// Gives these addresses for every name.
struct Lies(Vec<IpAddr>);

impl Resolve for Lies {
    fn resolve(&self, _name: Name) -> Resolving {
        let found: Vec<SocketAddr> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

#[tokio::test]
async fn fault_29_a_name_that_resolves_to_this_machine_or_to_metadata_is_not_connected_to() {
    let (address, count) = server(|_| ok()).await;
    let get = async |destinations: Destinations, addresses: &[&str], name: &str| {
        let lies = Lies(addresses.iter().map(|address| address.parse().unwrap()).collect());
        let client = reqwest::Client::builder().no_proxy().dns_resolver(destinations.resolver_over(Arc::new(lies)));
        client.build().unwrap().get(format!("http://{name}:{}/", address.port())).send().await
    };
    for addresses in [&["127.0.0.1"][..], &["::ffff:127.0.0.1"], &["169.254.169.254"], &["192.0.2.1", "127.0.0.1"]] {
        let refused = get(Destinations::default(), addresses, "rebound.example.org").await;
        assert!(refused.is_err(), "{addresses:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing was connected to");
    assert!(get(Destinations::default(), &["127.0.0.1"], "localhost").await.is_ok(), "the document says so itself");
    let allowed = Destinations::new(&["127.0.0.0/8".into()]).unwrap();
    assert!(get(allowed, &["127.0.0.1"], "rebound.example.org").await.is_ok());
}
