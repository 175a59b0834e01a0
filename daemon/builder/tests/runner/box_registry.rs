//! vagrant-registry and vagrant-cloud against a service that stands in for HashiCorp's.

use kiln_builder::{Fault, Sweep, still_held, sweep};

use super::box_service::{BoxService, CLIENT, TOKEN};
use super::world::World;

pub(super) const BOX: &str = "/vagrant/2022-09-30/registry/me/box/web";

/// A template whose artifact is a box that is there, published with `options`.
pub(super) fn template(world: &World, kind: &str, options: &str) -> String {
    let root = world.path("").display().to_string();
    format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = \"{root}files/note.txt\"\n}}\nbuild {{\n sources = [\"file.note\"]\n \
         post-processors {{\n post-processor \"artifice\" {{\n files = [\"{root}web.box\"]\n }}\n post-processor \"{kind}\" {{\n \
         box_tag = \"me/web\"\n version = \"1.2.3\"\n{options}\n }}\n }}\n}}\n"
    )
}

pub(super) fn hcp(service: &BoxService, more: &str) -> String {
    let (id, secret) = CLIENT;
    format!(
        "hcp_api_address = \"{0}\"\nhcp_auth_url = \"{0}\"\nclient_id = \"{id}\"\nclient_secret = \"{secret}\"\n{more}",
        service.url
    )
}

pub(super) fn cloud(service: &BoxService, more: &str) -> String {
    format!("vagrant_cloud_url = \"{}/api/v2\"\naccess_token = \"{TOKEN}\"\n{more}", service.url)
}

pub(super) fn world() -> World {
    with_box(World::new())
}

fn with_box(world: World) -> World {
    let mut archive = tar::Builder::new(std::fs::File::create(world.path("web.box")).unwrap());
    for (name, text) in [
        ("metadata.json", r#"{"provider":"libvirt","architecture":"arm64"}"#.to_owned()),
        ("box_0.img", "x".repeat(300_000)),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    world
}

async fn publish(world: &World, kind: &str, options: &str) -> u8 {
    world.run(&template(world, kind, options)).await.exit_code
}

fn assert_no_secret(world: &World) {
    let events = format!("{:?}", world.events.lock().unwrap());
    for secret in [CLIENT.1, TOKEN, "abcdef0123456789"] {
        assert!(!events.contains(secret), "{secret} is told: {}", world.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_is_made_published_and_released_in_hcps_registry() {
    let (world, service) = (world(), BoxService::start(&[]));
    let options = hcp(
        &service,
        "box_description = \"d\"\nbox_private = true\nversion_description = \"v\"\ndefault_architecture = \"arm64\"",
    );
    assert_eq!(publish(&world, "vagrant-registry", &options).await, 0, "{}", world.text());
    let version = format!("{BOX}/version/1.2.3");
    let architecture = format!("{version}/provider/libvirt/architecture/arm64");
    assert_eq!(
        service.done(),
        [
            "POST /oauth2/token".to_owned(),
            "POST /vagrant/2022-09-30/registry/me/boxes".to_owned(),
            format!("POST {BOX}/versions"),
            format!("POST {version}/providers"),
            format!("POST {version}/provider/libvirt/architectures"),
            "PUT /storage/object-7?X-Amz-Signature=abcdef0123456789".to_owned(),
            format!("PUT {architecture}/direct/complete/object-7"),
            format!("PUT {version}/release"),
        ]
    );
    let sent = std::fs::read(world.path("web.box")).unwrap();
    assert!(service.uploaded().unwrap() == sent, "the box arrives as it is");
    let asked = service.asked();
    let body = |line: &str| asked.iter().find(|asked| asked.line == line).unwrap().json.clone();
    let made = body("POST /vagrant/2022-09-30/registry/me/boxes");
    assert_eq!(made, serde_json::json!({"name": "web", "description": "d", "is_private": true}));
    assert_eq!(body(&format!("POST {BOX}/versions"))["description"], "v");
    let data = body(&format!("POST {version}/provider/libvirt/architectures"));
    assert_eq!((&data["architecture_type"], &data["default"]), (&"arm64".into(), &true.into()));
    assert_eq!(data["box_data"]["checksum_type"], "SHA256");
    let uploaded = asked.iter().find(|asked| asked.line.starts_with("PUT /storage/")).unwrap();
    assert_eq!(data["box_data"]["checksum"], uploaded.sha256.as_str());
    assert_eq!(uploaded.authorization, None);
    assert!(world.path("web.box").exists(), "the box stays");
    assert_no_secret(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_found_and_the_options_are_heeded() {
    let version = format!("{BOX}/version/1.2.3");
    let (world, service) = (world(), BoxService::start(&[BOX, &version]));
    let more = "no_direct_upload = true\nno_release = true\narchitecture = \"amd64\"\nbox_checksum = \"md5:abc\"";
    assert_eq!(publish(&world, "hcp-vagrant-registry", &hcp(&service, more)).await, 0, "{}", world.text());
    let done = service.done();
    assert_eq!(
        done.last().unwrap(),
        "PUT /storage/object-7?X-Amz-Signature=abcdef0123456789",
        "not released: {done:?}"
    );
    assert!(!done.iter().any(|line| line.ends_with("/boxes") || line.ends_with("/versions")), "{done:?}");
    let data = &service.asked().into_iter().find(|asked| asked.line.ends_with("/architectures")).unwrap().json;
    assert_eq!((&data["architecture_type"], &data["box_data"]["checksum"]), (&"amd64".into(), &"abc".into()));
    assert_eq!(data["box_data"]["checksum_type"], "MD5");
    assert!(world.text().contains("Not releasing version due to configuration"), "{}", world.text());
    // A box that lies elsewhere is not sent; a second architecture of it replaces the first.
    let more =
        "box_download_url = \"https://example.com/{{ .Provider }}/{{ .Architecture }}.box\"\narchitecture = \"amd64\"";
    assert_eq!(publish(&world, "vagrant-registry", &hcp(&service, more)).await, 0, "{}", world.text());
    let asked = service.asked();
    let put =
        asked.iter().find(|asked| asked.line == format!("PUT {version}/provider/libvirt/architecture/amd64")).unwrap();
    assert_eq!(put.json["box_data"]["download_url"], "https://example.com/libvirt/amd64.box");
    assert_eq!(put.json["box_data"]["checksum_type"], "NONE");
    assert_eq!(asked.iter().filter(|asked| asked.line.starts_with("PUT /storage/")).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vagrant_cloud_is_spoken_to_in_its_own_words() {
    let (world, service) = (world(), BoxService::start(&["/api/v2/box/me/web"]));
    assert_eq!(publish(&world, "vagrant-cloud", &cloud(&service, "")).await, 0, "{}", world.text());
    let version = "/api/v2/box/me/web/version/1.2.3";
    assert_eq!(
        service.done(),
        [
            "POST /api/v2/box/me/web/versions".to_owned(),
            format!("POST {version}/providers"),
            "PUT /storage/object-7?X-Amz-Signature=abcdef0123456789".to_owned(),
            format!("PUT {version}/provider/libvirt/arm64/upload/direct/complete"),
            format!("PUT {version}/release"),
        ]
    );
    let provider =
        &service.asked().into_iter().find(|asked| asked.line.ends_with("/providers")).unwrap().json["provider"];
    assert_eq!((&provider["name"], &provider["architecture"]), (&"libvirt".into(), &"arm64".into()));
    assert_eq!(provider["checksum_type"], "sha256");
    assert_no_secret(&world);
    let service = BoxService::start(&[]);
    assert_eq!(publish(&world, "vagrant-cloud", &cloud(&service, "")).await, 1);
    assert!(world.text().contains("there is no box me/web"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_fails_takes_its_version_along_and_one_that_was_there_stays() {
    let storage = "PUT /storage/";
    for (there, left) in [
        (vec![BOX.to_owned()], vec![BOX.to_owned()]),
        (vec![BOX.to_owned(), format!("{BOX}/version/1.2.3")], vec![BOX.to_owned(), format!("{BOX}/version/1.2.3")]),
    ] {
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        let (world, service) = (world(), BoxService::start(&there));
        service.fail(storage, 403, 1);
        assert_eq!(publish(&world, "vagrant-registry", &hcp(&service, "")).await, 1);
        assert!(world.text().contains("the box was not taken"), "{}", world.text());
        assert_eq!(service.there(), left);
        assert!(world.path("web.box").exists());
        assert_no_secret(&world);
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
    // The same when it is cancelled right after.
    let (mut world, service) = (world(), BoxService::start(&[BOX]));
    world.fault = Some(Fault { step: "post-processor 2 (vagrant-registry)", cancel: true });
    let outcome = world.run(&template(&world, "vagrant-registry", &hcp(&service, ""))).await;
    assert!(outcome.cancelled, "{}", world.text());
    assert_eq!(service.there(), [BOX]);
}

/// What the first try has made is gone before the second begins, so that nothing takes along later what the second has published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_is_published_at_the_second_try_stays() {
    let architecture = format!("{BOX}/version/1.2.3/provider/libvirt/architecture/arm64");
    for (refused, second, answers) in [
        (0, "", ["r"].as_slice()),
        // The first try's cannot be removed at once: there is no second one until it is.
        (2, "", &["r", "r"]),
        (0, "post-processor \"shell-local\" {\n inline = [\"exit 1\"]\n }\n", &["r", "g"]),
    ] {
        let (world, service) = (with_box(World::asking()), BoxService::start(&[BOX]));
        service.fail("PUT /storage/", 403, 1);
        service.fail("DELETE ", 403, refused);
        let template = template(&world, "vagrant-registry", &hcp(&service, ""));
        let template = format!("{}{second}}}\n", template.strip_suffix("}\n").unwrap());
        let outcome = world.run_and_answer(template, answers, |_| {}).await;
        assert_eq!(outcome.exit_code, u8::from(!second.is_empty()), "{}", world.text());
        let told = world.text().contains("what the try before has made is still there");
        assert_eq!(told, refused > 0, "{}", world.text());
        let there = service.there();
        assert!(there.contains(&architecture), "{there:?}: {}", world.text());
        assert_eq!(still_held(&world.path("job")).unwrap(), Vec::<String>::new());
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
        assert_eq!(service.there(), there, "a sweep takes nothing of it");
    }
    // Vagrant Cloud refuses a box that is there already.
    let (world, service) = (with_box(World::asking()), BoxService::start(&["/api/v2/box/me/web"]));
    service.fail("PUT /storage/", 403, 1);
    let template = template(&world, "vagrant-cloud", &cloud(&service, ""));
    assert_eq!(world.run_and_answer(template, &["r"], |_| {}).await.exit_code, 0, "{}", world.text());
    assert_eq!(service.there().len(), 3, "{:?}", service.there());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_busy_is_asked_again_and_a_token_that_has_ended_is_renewed() {
    let (world, service) = (world(), BoxService::start(&[BOX]));
    service.fail("PUT /storage/", 503, 1);
    service.fail(&format!("GET {BOX}/version/1.2.3"), 401, 1);
    service.fail(&format!("POST {BOX}/versions"), 429, 1);
    assert_eq!(publish(&world, "vagrant-registry", &hcp(&service, "")).await, 0, "{}", world.text());
    let done = service.done();
    for (line, times) in [("POST /oauth2/token", 2), ("PUT /storage/", 2), ("/versions", 2)] {
        assert_eq!(done.iter().filter(|done| done.contains(line)).count(), times, "{line}: {done:?}");
    }
    assert!(world.text().contains("trying again in 1 s"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_before_anything_is_made() {
    let service = BoxService::start(&[BOX]);
    for (kind, options, words) in [
        ("vagrant-registry", hcp(&service, "").replace(CLIENT.1, "another-secret"), "does not let in the client"),
        ("vagrant-cloud", cloud(&service, "").replace(TOKEN, "another-token"), "401"),
        ("vagrant-registry", hcp(&service, "box_checksum = \"abc\""), "TYPE:VALUE"),
        ("vagrant-registry", hcp(&service, "box_download_url = \"{{ .Nope }}\""), "Nope"),
        (
            "vagrant-registry",
            "insecure_skip_tls_verify = true\nclient_id = \"a\"\nclient_secret = \"b\"".to_owned(),
            "for HCP",
        ),
    ] {
        let world = world();
        assert_eq!(publish(&world, kind, &options).await, 1, "{options}");
        assert!(world.text().contains(words), "{options}: {}", world.text());
    }
    assert!(service.done().iter().all(|line| line == "POST /oauth2/token"), "{:?}", service.done());
    let world = World::new();
    let root = world.path("").display().to_string();
    let rest = format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = \"{root}files/note.txt\"\n}}\nbuild {{\n sources = [\"file.note\"]\n \
         post-processor \"vagrant-registry\" {{\n box_tag = \"me/web\"\n version = \"1\"\n{}\n }}\n}}\n",
        hcp(&service, "")
    );
    assert_eq!(world.run(&rest).await.exit_code, 1);
    assert!(world.text().contains("Unknown artifact type"), "{}", world.text());
}
