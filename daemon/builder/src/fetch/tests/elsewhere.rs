//! Servers whose files others are to read in parts.

use super::*;
use crate::fetch::elsewhere::{check_read_by_others, find_with};

const SAID: &str = "200 OK\nContent-Length: 5";

async fn find(place: &Place, urls: &[String]) -> Result<String, FetchError> {
    let say = |text: String| place.said.lock().unwrap().push(text);
    find_with(&transport(), urls, &say).await
}

#[tokio::test]
async fn the_first_server_that_gives_parts_is_taken_and_only_asked_for_the_head() {
    let whole = TestServer::start(|_, _| Reply::new(SAID, "whole")).await;
    let parts = TestServer::start(|_, _| Reply::new(&format!("{SAID}\nAccept-Ranges: bytes"), "parts")).await;
    let place = Place::new();
    let with_login = |server: &TestServer| server.url("/x.iso?token=hidden").replace("//", "//me:s%40cret@");
    let urls = [with_login(&whole), with_login(&parts)];
    let found = find(&place, &urls).await.unwrap();
    assert_eq!(found, urls[1], "with what it takes to be let in");
    assert_eq!(parts.seen()[0].line, "HEAD /x.iso?token=hidden");
    assert!(parts.seen()[0].header("authorization").is_some());
    let said = place.said().join("\n");
    assert!(said.contains("gives whole files only: its answer has no `Accept-Ranges: bytes`"), "{said}");
    assert!(!said.contains("hidden") && !said.contains("cret"), "{said}");
    assert_eq!(place.files(), [""; 0], "nothing is kept");
}

#[tokio::test]
async fn what_each_server_lacks_is_told_by_name() {
    let (missing, silent) = (
        TestServer::start(|_, _| Reply::new("404 Not Found\nContent-Length: 0", "")).await,
        TestServer::start(|_, _| Reply::new("200 OK\nContent-Length: 0\nAccept-Ranges: none", "")).await,
    );
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, words, hint) in [
        (missing.url("/x"), "answered 404 Not Found", "look for the current URL"),
        (silent.url("/x"), "gives whole files only", "remove iso_skip_cache"),
        (format!("http://{nobody}/x"), "cannot connect to", "check the network"),
        ("ftp://host/x".to_owned(), "cannot download with `ftp:`", "give its path as iso_url"),
        ("/isos/x.iso".to_owned(), "`/isos/x.iso` is on no server", "remove iso_skip_cache"),
    ] {
        let error = find(&Place::new(), std::slice::from_ref(&url)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{url}: {error}");
        assert!(error.hint().is_some_and(|told| told.contains(hint)), "{url}: {:?}", error.hint());
        assert_eq!(check_read_by_others(&url).is_ok(), url.starts_with("http"), "{url}");
    }
}
