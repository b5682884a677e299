//! Server-sent events as a client reads them: lines in, messages out.

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The last id that was told, here or before; what a reader who comes back gives as `Last-Event-ID`.
    pub id: Option<String>,
    /// What kind; empty where none is told.
    pub event: String,
    /// What is told; empty where only the id is.
    pub data: String,
}

/// Puts lines together to messages.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    next: Message,
    any: bool,
}

impl Parser {
    /// Takes a line without its end; answers a message when this line ends one.
    pub fn line(&mut self, line: &str) -> Option<Message> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            if !std::mem::take(&mut self.any) {
                return None;
            }
            let id = self.next.id.clone();
            return Some(std::mem::replace(&mut self.next, Message { id, ..Message::default() }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.next.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.next.event),
            "data" => {
                if !self.next.data.is_empty() {
                    self.next.data.push('\n');
                }
                self.next.data.push_str(value);
            }
            // A comment, or something that is not for this reader.
            _ => return None,
        }
        self.any = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<String>, String, String)> {
        let mut parser = Parser::default();
        let messages = text.lines().filter_map(|line| parser.line(line));
        messages.map(|message| (message.id, message.event, message.data)).collect()
    }

    #[test]
    fn messages_are_read_as_they_are_written() {
        let text =
            ": keep-alive\n\nid: 7\nevent: event\ndata: {\"a\":1}\n\nid:8\n\ndata: one\ndata:two\n\ndata: unfinished\n";
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(
            read(text),
            [
                (some("7"), "event".into(), "{\"a\":1}".into()),
                (some("8"), String::new(), String::new()),
                (some("8"), String::new(), "one\ntwo".into()),
            ]
        );
    }
}
