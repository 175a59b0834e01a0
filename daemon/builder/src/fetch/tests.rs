//! Downloads from servers that behave, and from those that do not.

mod elsewhere;
mod https;
mod socks;

use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpListener;

use super::checksum::{Algorithm, Hasher};
use super::patience::Patience;
use super::proxy::ProxySettings;
use super::test_server::{Reply, TestServer};
use super::*;

const TAG: &str = "\"v1\"";

/// A place for downloads, and what the user was told.
struct Place {
    directory: tempfile::TempDir,
    said: Mutex<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), said: Mutex::new(Vec::new()) }
    }

    fn request(&self, urls: &[String], checksum: Checksum) -> FetchRequest {
        FetchRequest {
            urls: urls.to_vec(),
            checksum,
            target: Target { path: None, extension: "ISO".to_owned() },
            cache_dir: self.directory.path().join("cache"),
            ledger: None,
        }
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, FetchError> {
        self.fetch_through(&transport(), request).await
    }

    async fn fetch_through(&self, transport: &Transport, request: &FetchRequest) -> Result<Fetched, FetchError> {
        let say = |text: String| self.said.lock().unwrap().push(text);
        fetch_with(transport, request, &|_, _| {}, &say).await
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Names of all files in the cache.
    fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("cache")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        // No test waits for it; a machine that has much else to do must not reach it.
        stall: Duration::from_secs(60),
        first_pause: Duration::from_millis(5),
        tries: 4,
    }
}

fn transport() -> Transport {
    Transport::for_tests(ProxySettings::default(), patience(), None)
}

fn content() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    Checksum::Digest(hasher.finish())
}

#[tokio::test]
async fn downloads_once_and_says_what_packer_says() {
    let server = TestServer::start(|_, request| Reply::file(request, &content(), TAG)).await;
    let place = Place::new();
    let url = server.url("/dir/x.iso");
    let checksum = sha256(&content());
    let request = place.request(std::slice::from_ref(&url), checksum.clone());
    let fetched = place.fetch(&request).await.unwrap();
    let name = format!("{}.iso", checksum::sha1_hex(checksum.to_string().as_bytes()));
    assert_eq!(fetched, Fetched { path: request.cache_dir.join(&name), from_cache: false });
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
    assert_eq!(place.files(), [name], "no lock, no partial file");
    let described = format!("{url}?checksum={}", checksum.to_string().replace(':', "%3A"));
    assert_eq!(
        place.said(),
        [format!("Trying {url}"), format!("Trying {described}"), format!("{described} => {}", fetched.path.display())]
    );
    let again = place.fetch(&request).await.unwrap();
    assert!(again.from_cache);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].line, "GET /dir/x.iso");

    // A damaged file in the cache is replaced.
    std::fs::write(&fetched.path, "damaged").unwrap();
    assert!(!place.fetch(&request).await.unwrap().from_cache);
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
}

#[tokio::test]
async fn goes_on_after_cut_connections() {
    let server = TestServer::start(|_, request| Reply::file(request, &content(), TAG).cut_after(700_000)).await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], sha256(&content()));
    // Every try brings less than what counts as progress: four tries do not suffice, but what has come stays.
    let error = place.fetch(&request).await.unwrap_err();
    assert!(error.to_string().contains("broke after 2800000 bytes"), "{error}");
    let kept = place.files();
    assert!(kept.iter().any(|name| name.ends_with(".partial")) && kept.len() == 2, "{kept:?}");
    let fetched = place.fetch(&request).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
    assert_eq!(place.files().len(), 1);
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0].header("range"), None);
    assert_eq!(seen[4].header("range"), Some("bytes=2800000-"));
    assert_eq!(seen[4].header("if-range"), Some(TAG));
}

#[tokio::test]
async fn starts_over_when_the_file_has_changed() {
    let new: Vec<u8> = content().iter().rev().copied().collect();
    let served = new.clone();
    let server = TestServer::start(move |number, request| match number {
        0 => Reply::file(request, &content(), "\"old\"").cut_after(1_500_000),
        _ => Reply::file(request, &served, "\"new\""),
    })
    .await;
    let place = Place::new();
    let fetched = place.fetch(&place.request(&[server.url("/x.iso")], Checksum::None)).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), new);
}

#[tokio::test]
async fn does_not_trust_an_old_part_of_something_else() {
    let server = TestServer::start(|_, request| Reply::file(request, &content(), TAG)).await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], sha256(&content()));
    let name = format!("{}.iso.partial", checksum::sha1_hex(request.checksum.to_string().as_bytes()));
    std::fs::create_dir_all(&request.cache_dir).unwrap();
    std::fs::write(request.cache_dir.join(name), vec![0; 1000]).unwrap();
    let fetched = place.fetch(&request).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
    let said = place.said();
    let mismatch = said.iter().position(|line| line.starts_with("Checksum did not match, removing ")).unwrap();
    assert!(said[mismatch + 1].ends_with("fetching all of it anew"), "{said:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn survives_servers_that_stall_or_are_busy() {
    let served = content();
    let server = TestServer::start(move |number, request| {
        let whole = Reply::file(request, &served, TAG);
        match number {
            0 => Reply::new("503 Busy\nContent-Length: 0", ""),
            1 => Reply { stalls: true, ..whole.cut_after(1000) },
            _ => whole,
        }
    })
    .await;
    let place = Place::new();
    let stall = Duration::from_secs(2);
    let hasty = Transport::for_tests(ProxySettings::default(), Patience { stall, ..patience() }, None);
    let request = place.request(&[server.url("/x")], sha256(&content()));
    let fetched = place.fetch_through(&hasty, &request).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), content());
    assert_eq!(server.seen()[2].header("range"), Some("bytes=1000-"));
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing_and_the_next_url_is_tried() {
    let bad = TestServer::start(|_, request| Reply::file(request, b"<html>not found</html>", TAG)).await;
    let good = TestServer::start(|_, request| Reply::file(request, &content(), TAG)).await;
    let place = Place::new();
    let only_bad = place.request(&[bad.url("/x.iso")], sha256(&content()));
    let error = place.fetch(&only_bad).await.unwrap_err();
    assert!(error.to_string().contains("checksum does not match: expected sha256:"), "{error}");
    assert!(error.to_string().contains("(22 bytes)"), "{error}");
    assert!(error.hint().unwrap().contains("error page"));
    assert!(place.files().is_empty(), "{:?}", place.files());
    let missing = TestServer::start(|_, _| Reply::new("404 Not Found\nContent-Length: 0", "")).await;
    let urls = [missing.url("/x.iso"), bad.url("/x.iso"), good.url("/x.iso")];
    let fetched = place.fetch(&place.request(&urls, sha256(&content()))).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());
    let said = place.said();
    assert!(
        said.iter().any(|line| line == &format!("Download failed {} answered 404 Not Found", urls[0])),
        "{said:#?}"
    );
    assert_eq!(missing.seen().len(), 1, "a missing file is not asked for again");
}

#[tokio::test]
async fn a_wrong_file_is_downloaded_once_for_all_builds_that_want_it_at_the_same_time() {
    let server = TestServer::start(|_, request| Reply::file(request, &content(), TAG)).await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], sha256(b"another file"));
    let (one, two, three) = tokio::join!(place.fetch(&request), place.fetch(&request), place.fetch(&request));
    let (Checksum::Digest(expected), Checksum::Digest(found)) = (sha256(b"another file"), sha256(&content())) else {
        panic!()
    };
    for result in [one, two, three] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&expected.to_string()) && error.contains(&found.to_string()), "{error}");
    }
    assert_eq!(server.seen().len(), 1, "{:#?}", place.said());
    assert!(place.said().iter().any(|line| line.ends_with("not downloading it again")), "{:#?}", place.said());
    assert!(place.files().is_empty(), "{:?}", place.files());
    // Somebody who tries once more may find that the publisher has mended it.
    place.fetch(&request).await.unwrap_err();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn who_waits_with_another_token_tries_it() {
    let server = TestServer::start(|_, request| {
        let body = if request.line.contains("token=new") { content() } else { b"<html>expired</html>".to_vec() };
        Reply::file(request, &body, TAG)
    })
    .await;
    let place = Place::new();
    let with = |token: &str| place.request(&[server.url(&format!("/x.iso?token={token}"))], sha256(&content()));
    let (old, new) = (with("old"), with("new"));
    // Whichever comes first.
    let (_, new) = tokio::join!(place.fetch(&old), place.fetch(&new));
    assert_eq!(std::fs::read(new.unwrap().path).unwrap(), content());
}

#[tokio::test]
async fn follows_redirects_but_not_for_ever() {
    let server = TestServer::start(|_, request| match request.line.as_str() {
        "GET /a/start.iso" => Reply::new("302 Found\nLocation: ../b/next?x=1\nContent-Length: 0", ""),
        "GET /b/next?x=1" => Reply::new("307 T\nLocation: /end.iso\nContent-Length: 0", ""),
        "GET /end.iso" => Reply::file(request, b"end", TAG),
        _ => Reply::new("301 Moved\nLocation: /loop\nContent-Length: 0", ""),
    })
    .await;
    let place = Place::new();
    let fetched = place.fetch(&place.request(&[server.url("/a/start.iso")], sha256(b"end"))).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"end");
    let error = place.fetch(&place.request(&[server.url("/loop")], Checksum::None)).await.unwrap_err();
    assert!(error.to_string().contains("redirects more than 10 times"), "{error}");
    assert_eq!(server.seen().len(), 3 + 11);
}

#[tokio::test]
async fn without_a_checksum_the_length_decides() {
    let server =
        TestServer::start(|number, request| Reply::file(request, if number < 3 { b"one" } else { b"three" }, TAG))
            .await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], Checksum::None);
    assert!(!place.fetch(&request).await.unwrap().from_cache);
    assert!(place.fetch(&request).await.unwrap().from_cache);
    assert!(place.fetch(&request).await.unwrap().from_cache);
    let fetched = place.fetch(&request).await.unwrap();
    assert!(!fetched.from_cache);
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"three");
    let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /x.iso", "HEAD /x.iso", "HEAD /x.iso", "HEAD /x.iso", "GET /x.iso"]);
    drop(server);
    assert!(place.fetch(&request).await.unwrap().from_cache, "what is there is used when the server is away");
}

#[tokio::test]
async fn local_files_are_used_where_they_are() {
    let place = Place::new();
    let path = place.directory.path().join("my file.iso");
    std::fs::write(&path, "content").unwrap();
    let urls = [
        path.to_str().unwrap().to_owned(),
        format!("file://{}", path.to_str().unwrap().replace(' ', "%20")),
        format!("{}?checksum=none", path.to_str().unwrap()),
    ];
    for (url, checksum) in urls.iter().zip([sha256(b"content"), Checksum::None, sha256(b"other")]) {
        let fetched = place.fetch(&place.request(std::slice::from_ref(url), checksum)).await.unwrap();
        assert_eq!(fetched, Fetched { path: path.clone(), from_cache: false });
    }
    let error = place.fetch(&place.request(&urls[..1], sha256(b"other"))).await.unwrap_err();
    assert!(error.to_string().contains("checksum does not match"), "{error}");
    assert!(path.exists() && place.files().is_empty());
    for url in ["/nonexistent.iso", "/", "ftp://x/y.iso", "http://"] {
        let error = place.fetch(&place.request(&[url.to_owned()], Checksum::None)).await.unwrap_err();
        assert!(error.to_string().starts_with("error downloading ISO: ["), "{error}");
    }
    assert!(matches!(place.fetch(&place.request(&[], Checksum::None)).await, Err(FetchError::NoUrl)));
}

#[tokio::test]
async fn targets_are_files_or_directories() {
    let server = TestServer::start(|_, request| Reply::file(request, b"x", TAG)).await;
    let place = Place::new();
    let mut request = place.request(&[server.url("/x")], sha256(b"x"));
    let base = place.directory.path().to_owned();
    request.target = Target { path: Some(base.join("sub/named.iso")), extension: String::new() };
    assert_eq!(place.fetch(&request).await.unwrap().path, base.join("sub/named.iso"));
    request.target = Target { path: Some(base.join("folder")), extension: "QCOW2".to_owned() };
    let path = place.fetch(&request).await.unwrap().path;
    assert_eq!((path.parent().unwrap(), path.extension().unwrap().to_str().unwrap()), (&*base.join("folder"), "qcow2"));
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn only_one_of_many_downloads() {
    let server = TestServer::start(|_, request| Reply::file(request, &content(), TAG)).await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], sha256(&content()));
    let (transport, say) = (transport(), |_: String| {});
    let one = || fetch_with(&transport, &request, &|_, _| {}, &say);
    let results = tokio::join!(one(), one(), one());
    let from_cache = [results.0, results.1, results.2].map(|result| result.unwrap().from_cache);
    assert_eq!(from_cache.iter().filter(|cached| !**cached).count(), 1);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn a_dropped_download_lets_go_and_keeps_what_has_come() {
    let server = TestServer::start(|number, request| {
        let whole = Reply::file(request, &content(), TAG);
        if number == 0 { Reply { stalls: true, ..whole.cut_after(2_000_000) } } else { whole }
    })
    .await;
    let place = Place::new();
    let request = place.request(&[server.url("/x.iso")], sha256(&content()));
    let patient = transport();
    let arrived = tokio::sync::Notify::new();
    let progress = |done: u64, total: Option<u64>| {
        assert_eq!(total, Some(3_000_000));
        if done == 2_000_000 {
            arrived.notify_one();
        }
    };
    tokio::select! {
        _ = fetch_with(&patient, &request, &progress, &|_| {}) => panic!("the server has not sent everything"),
        () = arrived.notified() => {}
    }
    let fetched = place.fetch(&request).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());
    let range = server.seen()[1].header("range").unwrap().to_owned();
    assert!(range != "bytes=0-", "{range}");
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn checksum_files_are_looked_up() {
    let Checksum::Digest(digest) = sha256(b"the image") else { panic!() };
    let hex = digest.to_string().replace("sha256:", "");
    let list = format!("{}  other.iso\n{hex} *x.iso\n", "0".repeat(64));
    let server = TestServer::start(move |number, request| match request.line.as_str() {
        "GET /pub/SHA256SUMS" if number == 0 => Reply::new("500 Oops\nContent-Length: 0", ""),
        "GET /pub/SHA256SUMS" => Reply::new(&format!("200 OK\nContent-Length: {}", list.len()), list.clone()),
        "GET /huge" => Reply::new("200 OK", vec![b'x'; 9 << 20]),
        _ => Reply::file(request, b"the image", TAG),
    })
    .await;
    let cwd = Path::new("/work");
    let spec = parse_checksum(&format!("file:{}", server.url("/pub/SHA256SUMS"))).unwrap();
    let resolve =
        async |spec: &ChecksumSpec, url: &str| checksum_file::resolve(&transport(), spec, url, cwd, &|_| {}).await;
    assert_eq!(resolve(&spec, &server.url("/pub/x.iso")).await.unwrap(), Checksum::Digest(digest.clone()));
    assert_eq!(resolve(&spec, "iso/x.iso").await.unwrap(), Checksum::Digest(digest.clone()));
    let error = resolve(&spec, &server.url("/pub/y.iso")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no checksum found in: {}", server.url("/pub/SHA256SUMS")));
    assert!(error.hint().unwrap().contains("y.iso"));
    let huge = ChecksumSpec::File(server.url("/huge"));
    assert!(with_causes(&resolve(&huge, "x.iso").await.unwrap_err()).contains("small file was expected"));
    let missing = ChecksumSpec::File("nonexistent".to_owned());
    assert!(with_causes(&resolve(&missing, "x.iso").await.unwrap_err()).contains("/work/nonexistent"));

    let place = Place::new();
    let url = format!("{}?checksum=file:{}", server.url("/pub/x.iso"), server.url("/pub/SHA256SUMS"));
    let fetched = place.fetch(&place.request(&[url], sha256(b"ignored"))).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"the image");
}

#[tokio::test]
async fn logins_go_to_the_server_and_into_no_message() {
    let server = TestServer::start(|_, request| match request.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => Reply::file(request, b"x", TAG),
        _ => Reply::new("403 Forbidden\nContent-Length: 0", ""),
    })
    .await;
    let place = Place::new();
    let url = format!("http://me:secret@{}/x.iso", server.address);
    place.fetch(&place.request(&[url], Checksum::None)).await.unwrap();
    let wrong = format!("http://me:wrong-secret@{}/y.iso", server.address);
    let error = place.fetch(&place.request(&[wrong], Checksum::None)).await.unwrap_err();
    let everything = format!("{error} {error:?} {:?} {:?}", error.hint(), place.said());
    assert!(!everything.contains("secret"), "{everything}");
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy() {
    let proxy = TestServer::start(|_, request| Reply::file(request, b"through the proxy", TAG)).await;
    let settings = {
        let address = proxy.address;
        ProxySettings::from_lookup(move |name| (name == "HTTP_PROXY").then(|| format!("http://u:p@{address}")))
    };
    let transport = Transport::for_tests(settings, patience(), None);
    let place = Place::new();
    let request = place.request(&["http://mirror.invalid/x.iso".to_owned()], Checksum::None);
    let fetched = place.fetch_through(&transport, &request).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"through the proxy");
    let seen = &proxy.seen()[0];
    assert_eq!(seen.line, "GET http://mirror.invalid/x.iso");
    assert_eq!(seen.header("host"), Some("mirror.invalid"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dTpw"));
}

#[tokio::test]
async fn pauses_before_another_try_are_told_with_their_end() {
    struct Over(Arc<Mutex<Vec<String>>>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("over".to_owned());
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let transport = transport().telling(Arc::new(move |what, limit| {
        teller.lock().unwrap().push(format!("{what} {limit:?}"));
        Box::new(Over(Arc::clone(&teller)))
    }));
    let place = Place::new();
    let request = place.request(&["http://127.0.0.1:1/x.iso".to_owned()], sha256(&content()));
    place.fetch_through(&transport, &request).await.unwrap_err();
    let next = |ms: u32| format!("the next try of http://127.0.0.1:1/x.iso {ms}ms");
    let over = || "over".to_owned();
    assert_eq!(*told.lock().unwrap(), [next(5), over(), next(10), over(), next(20), over()]);
}

#[tokio::test]
async fn nothing_listening_is_a_clear_error() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let place = Place::new();
    let error = place.fetch(&place.request(&[format!("http://{address}/x")], Checksum::None)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot connect to {address}")), "{error}");
    assert!(error.hint().unwrap().contains("proxy"));
}
