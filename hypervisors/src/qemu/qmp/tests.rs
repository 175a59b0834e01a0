//! The client against a QEMU made of a script.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;

const GREETING: &str =
    r#"{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":"x"},"capabilities":["oob"]}}"#;

/// The other end: reads commands as values, writes lines.
struct Server {
    lines: BufReader<UnixStream>,
}

impl Server {
    async fn say(&mut self, line: &str) {
        self.lines.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn answer(&mut self, result: Value) -> Value {
        let command = self.hear().await;
        self.say(&json!({ "return": result, "id": command["id"] }).to_string()).await;
        command
    }
}

fn pair() -> (UnixStream, Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, Server { lines: BufReader::new(theirs) })
}

async fn connected() -> (QmpClient, Server) {
    let (stream, mut server) = pair();
    let (client, ()) = tokio::join!(QmpClient::connect(stream, ANSWER_LIMIT), async {
        server.say(GREETING).await;
        let command = server.answer(json!({})).await;
        assert_eq!(command["execute"], "qmp_capabilities");
        assert_eq!(command["arguments"]["enable"], json!(["oob"]));
        assert!(command["id"].is_string());
    });
    (client.unwrap(), server)
}

#[tokio::test]
async fn negotiates_and_answers() {
    let (client, mut server) = connected().await;
    assert_eq!(client.version(), "7.2.22");
    let (status, _) = tokio::join!(client.status(), server.answer(json!({ "status": "paused", "running": false })));
    assert_eq!(status.unwrap(), "paused");
}

#[tokio::test]
async fn refusals_carry_the_reason() {
    let (client, mut server) = connected().await;
    let (result, ()) = tokio::join!(client.execute_within("eject", json!({ "id": "x" }), ANSWER_LIMIT), async {
        let command = server.hear().await;
        let error = json!({ "error": { "class": "GenericError", "desc": "no x" }, "id": command["id"] });
        server.say(&error.to_string()).await;
    });
    assert_eq!(result, Err(MachineError::Refused { command: "eject".to_owned(), message: "no x".to_owned() }));
}

#[tokio::test]
async fn unknown_events_garbage_and_foreign_replies_do_no_harm() {
    let (client, mut server) = connected().await;
    let mut events = client.events();
    for line in [
        r#"{"event":"BRAND_NEW_EVENT"}"#,
        r#"{"event":"SHUTDOWN","data":{"guest":true,"reason":"brand-new"},"timestamp":{"seconds":-1,"microseconds":-1}}"#,
        "this is not JSON",
        "",
        "[1,2,3]",
        "null",
        r#"{"return":{},"id":"not-ours"}"#,
        r#"{"return":{},"id":17}"#,
        r#"{"error":{"class":"GenericError","desc":"no id at all"}}"#,
        r#"{"QMP":{"again":true}}"#,
        "{\"event\":\"\u{fffd}\"}",
    ] {
        server.say(line).await;
    }
    server.lines.get_mut().write_all(b"\xff\xfe\n").await.unwrap();
    let (answer, _) = tokio::join!(client.human("info status"), server.answer(json!("VM status: running\r\n")));
    assert_eq!(answer.unwrap(), "VM status: running\r\n");
    assert_eq!(events.try_recv().unwrap(), Event { name: "BRAND_NEW_EVENT".to_owned(), data: Value::Null });
    assert_eq!(events.try_recv().unwrap().data["reason"], "brand-new");
}

#[tokio::test]
async fn answers_out_of_order_find_their_commands() {
    let (client, mut server) = connected().await;
    let (first, second, ()) = tokio::join!(
        client.execute_within("one", Value::Null, ANSWER_LIMIT),
        client.execute_within("two", Value::Null, ANSWER_LIMIT),
        async {
            let (one, two) = (server.hear().await, server.hear().await);
            for command in [two, one] {
                server.say(&json!({ "return": command["execute"], "id": command["id"] }).to_string()).await;
            }
        }
    );
    assert_eq!((first.unwrap(), second.unwrap()), (json!("one"), json!("two")));
}

#[tokio::test]
async fn a_dropped_future_harms_no_later_command() {
    let (client, mut server) = connected().await;
    {
        let dropped = client.execute_within("slow", Value::Null, ANSWER_LIMIT);
        assert!(tokio::time::timeout(Duration::from_millis(20), dropped).await.is_err());
    }
    assert!(lock(&client.pending).is_empty());
    let slow = server.hear().await;
    let (answer, ()) = tokio::join!(client.execute_within("quick", Value::Null, ANSWER_LIMIT), async {
        let quick = server.hear().await;
        server.say(&json!({ "return": "late", "id": slow["id"] }).to_string()).await;
        server.say(&json!({ "return": "right", "id": quick["id"] }).to_string()).await;
    });
    assert_eq!(answer.unwrap(), json!("right"));
}

#[tokio::test]
async fn a_command_that_gets_no_answer_times_out_and_the_next_works() {
    let (client, mut server) = connected().await;
    let limit = Duration::from_millis(30);
    let result = client.execute_within("silence", Value::Null, limit).await;
    assert_eq!(result, Err(MachineError::Timeout { command: "silence".to_owned(), limit }));
    server.hear().await;
    let (answer, _) = tokio::join!(client.status(), server.answer(json!({ "status": "running" })));
    assert_eq!(answer.unwrap(), "running");
}

#[tokio::test]
async fn a_slow_answer_in_pieces_is_put_together() {
    let (client, mut server) = connected().await;
    let (answer, ()) = tokio::join!(client.execute_within("big", Value::Null, ANSWER_LIMIT), async {
        let command = server.hear().await;
        let reply = json!({ "return": "x".repeat(300_000), "id": command["id"] }).to_string() + "\r\n";
        for piece in reply.as_bytes().chunks(70_001) {
            server.lines.get_mut().write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(answer.unwrap().as_str().map(str::len), Some(300_000));
}

#[tokio::test]
async fn a_disconnect_fails_what_waits_and_what_follows() {
    let (client, mut server) = connected().await;
    let (result, ()) = tokio::join!(client.execute_within("stop", Value::Null, ANSWER_LIMIT), async {
        server.hear().await;
        drop(server);
    });
    assert_eq!(result, Err(MachineError::Gone));
    client.closed().await;
    assert_eq!(client.status().await, Err(MachineError::Gone));
}

#[tokio::test]
async fn events_sent_before_a_disconnect_are_not_lost() {
    let (client, mut server) = connected().await;
    let mut events = client.events();
    server.say(r#"{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#).await;
    drop(server);
    client.closed().await;
    assert_eq!(events.try_recv().unwrap().name, "SHUTDOWN");
}

#[tokio::test]
async fn no_greeting_is_an_error() {
    let (stream, mut server) = pair();
    server.say(r#"{"event":"HELLO"}"#).await;
    let limit = Duration::from_millis(30);
    let error = QmpClient::connect(stream, limit).await.unwrap_err();
    assert!(matches!(error, MachineError::Timeout { .. }), "{error:?}");

    let (stream, server) = pair();
    drop(server);
    assert_eq!(QmpClient::connect(stream, ANSWER_LIMIT).await.unwrap_err(), MachineError::Gone);
}

#[tokio::test]
async fn an_endless_message_ends_the_connection() {
    let (client, mut server) = connected().await;
    let flood = async {
        let piece = vec![b'x'; 1 << 20];
        while server.lines.get_mut().write_all(&piece).await.is_ok() {}
    };
    tokio::select! {
        () = client.closed() => {}
        () = flood => client.closed().await,
    }
    assert_eq!(client.status().await, Err(MachineError::Gone));
}

#[tokio::test]
async fn what_is_sent_is_the_schemas() {
    let (client, mut server) = connected().await;
    let (_, sent) = tokio::join!(client.run(qapi_qmp::cont {}), server.answer(json!({})));
    assert_eq!(sent["execute"], "cont");
    assert!(sent["arguments"].as_object().is_none_or(serde_json::Map::is_empty), "{sent}");
    let dump = qapi_qmp::screendump { device: None, format: None, head: None, filename: "/x".to_owned() };
    let (_, sent) = tokio::join!(client.run(dump), server.answer(json!({})));
    assert_eq!(sent["arguments"], json!({ "filename": "/x" }), "what is not said is not sent");
    let (_, sent) = tokio::join!(client.human("info status"), server.answer(json!("")));
    assert_eq!(
        (&sent["execute"], &sent["arguments"]["command-line"]),
        (&json!("human-monitor-command"), &json!("info status"))
    );
}

/// A newer QEMU adds words and fields; an older one lacks some. What is needed is still found.
#[tokio::test]
async fn odd_replies_are_read_as_far_as_they_are_needed() {
    let (client, mut server) = connected().await;
    for reply in [
        json!({ "status": "brand-new-state", "running": "perhaps", "singlestep": null }),
        json!({ "status": "brand-new-state", "later": { "deep": [1, 2, 3] } }),
    ] {
        let (status, _) = tokio::join!(client.status(), server.answer(reply));
        assert_eq!(status.unwrap(), "brand-new-state");
    }
    for reply in [json!({}), json!(null), json!([]), json!("running"), json!({ "status": 7 })] {
        let (status, _) = tokio::join!(client.status(), server.answer(reply));
        assert!(matches!(status, Err(MachineError::Unexpected { .. })), "{status:?}");
    }
    for reply in [json!({ "new": 1 }), json!(true)] {
        let (answer, _) = tokio::join!(client.run(qapi_qmp::quit {}), server.answer(reply.clone()));
        assert_eq!(answer.unwrap(), reply, "an answer nobody reads is not looked into");
    }
    let (answer, ()) = tokio::join!(client.run(qapi_qmp::cont {}), async {
        let command = server.hear().await;
        let error = json!({ "error": { "class": "BrandNewClass", "more": {} }, "id": command["id"], "extra": 1 });
        server.say(&error.to_string()).await;
    });
    assert!(matches!(answer, Err(MachineError::Refused { .. })), "{answer:?}");
}
