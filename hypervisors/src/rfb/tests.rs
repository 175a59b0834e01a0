//! A client against servers that are scripted byte for byte.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server that sends `greeting`, reads as many bytes as it says, and so on.
async fn served(
    script: Vec<(Vec<u8>, usize)>,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<(TcpStream, Vec<Vec<u8>>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for (say, hear) in script {
            // A client that has given up is what some tests are about.
            let _ = stream.write_all(&say).await;
            let mut bytes = vec![0; hear];
            if stream.read_exact(&mut bytes).await.is_err() {
                break;
            }
            heard.push(bytes);
        }
        (stream, heard)
    });
    (address, server)
}

fn server_init(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    bytes.extend([0; 16]);
    bytes.extend([0, 0, 0, 2, b'v', b'm']);
    bytes
}

/// Version, one security type, all is well.
fn open(width: u16, height: u16) -> Vec<(Vec<u8>, usize)> {
    vec![(b"RFB 003.008\n".to_vec(), 12), (vec![1, 1], 1), (vec![0; 4], 1), (server_init(width, height), 0)]
}

#[tokio::test]
async fn keys_are_sent_after_the_greeting() {
    let mut script = open(2, 1);
    script.push((Vec::new(), 8));
    let (address, server) = served(script).await;
    let mut client = RfbClient::connect(address, None).await.unwrap();
    client.key(0xff0d, true).await.unwrap();
    let (_, heard) = server.await.unwrap();
    assert_eq!(heard[0], b"RFB 003.008\n");
    assert_eq!(heard.last().unwrap()[..], [4, 1, 0, 0, 0, 0, 0xff, 0x0d]);
}

#[tokio::test]
async fn a_password_is_used_and_never_sent() {
    let script = vec![
        (b"RFB 003.008\n".to_vec(), 12),
        (vec![2, 1, 2], 1),
        (vec![7; 16], 16),
        (vec![0, 0, 0, 1, 0, 0, 0, 3, b'b', b'a', b'd'], 0),
    ];
    let (address, server) = served(script).await;
    let error = RfbClient::connect(address, Some("hunter22")).await.unwrap_err();
    assert_eq!(error.to_string(), "the VNC server refused: bad");
    let (_, heard) = server.await.unwrap();
    assert_eq!(heard[1], [2], "the password is preferred to none");
    assert_eq!(heard[2], auth::response([7; 16], "hunter22"));
}

/// Where a password was set, a server without one is another machine's, and gets no keys.
#[tokio::test]
async fn a_server_that_should_ask_for_a_password_must() {
    for greeting in [
        vec![(b"RFB 003.008\n".to_vec(), 12), (vec![1, 1], 0)],
        vec![(b"RFB 003.003\n".to_vec(), 12), (vec![0, 0, 0, 1], 0)],
    ] {
        let (address, _server) = served(greeting).await;
        let error = RfbClient::connect(address, Some("hunter22")).await.unwrap_err();
        assert!(error.to_string().contains("it asks for no password though one was set"), "{error}");
    }
}

#[tokio::test]
async fn the_old_version_chooses_for_the_client() {
    let script = vec![(b"RFB 003.003\n".to_vec(), 12), (vec![0, 0, 0, 1], 1), (server_init(4, 4), 0)];
    let (address, _server) = served(script).await;
    RfbClient::connect(address, None).await.unwrap();
    let script = vec![(b"RFB 003.003\n".to_vec(), 12), (vec![0, 0, 0, 2], 0)];
    let (address, _server) = served(script).await;
    let error = RfbClient::connect(address, None).await.unwrap_err();
    assert_eq!(error.to_string(), "the VNC server refused: it wants a password");
}

/// What is sent for a picture: pixel format, encodings, and the request.
const ASKED: usize = 20 + 12 + 10;

fn rectangle(x: u16, y: u16, width: u16, height: u16, encoding: i32) -> Vec<u8> {
    let numbers = [x, y, width, height].map(u16::to_be_bytes).concat();
    [numbers, encoding.to_be_bytes().to_vec()].concat()
}

#[tokio::test]
async fn a_picture_comes_in_tiles_between_other_messages_and_after_a_change_of_size() {
    let pixel = |red, green, blue| [blue, green, red, 0];
    // Another size first, then a bell, a text, and two tiles.
    let resize = [vec![0, 0, 0, 1], rectangle(0, 0, 2, 1, -223)].concat();
    let mut tiles = vec![2, 3, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 0, 2];
    tiles.extend(rectangle(0, 0, 1, 1, 0));
    tiles.extend(pixel(1, 2, 3));
    tiles.extend(rectangle(1, 0, 1, 1, 0));
    tiles.extend(pixel(4, 5, 6));
    let mut script = open(1, 1);
    script.extend([(Vec::new(), ASKED), (resize, 10), (tiles, 0)]);
    let (address, _server) = served(script).await;
    let mut client = RfbClient::connect(address, None).await.unwrap();
    let picture = capture(&mut client).await.unwrap();
    assert_eq!((picture.width, picture.height, picture.rgb), (2, 1, vec![1, 2, 3, 4, 5, 6]));
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused() {
    let greeting = |bytes: &[u8]| vec![(bytes.to_vec(), 0)];
    for (script, words) in [
        (greeting(b"HTTP/1.1 200"), "it greets with"),
        (vec![(b"RFB 003.008\n".to_vec(), 12), (vec![0, 0, 0, 0, 2, b'n', b'o'], 0)], "refused: no"),
        (vec![(b"RFB 003.008\n".to_vec(), 12), (vec![0, 255, 255, 255, 255], 0)], "a text of 4294967295 bytes"),
        (vec![(b"RFB 003.008\n".to_vec(), 12), (vec![1, 19], 0)], "no way in that is known"),
    ] {
        let (address, _server) = served(script).await;
        let error = RfbClient::connect(address, None).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for (size, message, words) in [
        ((0, 5), vec![], "a screen of 0 × 5 pixels"),
        ((9000, 5), vec![], "a screen of 9000 × 5 pixels"),
        ((1, 1), vec![9], "a message of type 9"),
        ((1, 1), [vec![0, 0, 0, 1], rectangle(1, 0, 1, 1, 0)].concat(), "beyond its screen"),
        ((1, 1), [vec![0, 0, 0, 1], rectangle(0, 0, 1, 1, 16)].concat(), "an encoding 16"),
        ((1, 1), [vec![0, 0, 0, 1], rectangle(0, 0, 65535, 65535, -223)].concat(), "65535 × 65535"),
        ((1, 1), vec![3, 0, 0, 0, 255, 255, 255, 255], "4294967295 bytes"),
    ] {
        let mut script = open(size.0, size.1);
        script.push((message, ASKED));
        let (address, _server) = served(script).await;
        let mut client = RfbClient::connect(address, None).await.unwrap();
        let error = capture(&mut client).await.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}
