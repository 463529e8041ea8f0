// Server-sent events from the body of a fetch; EventSource can only GET.

export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const fields = parse(frame);
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

function parse(frame) {
  const fields = {};
  for (const line of frame.split("\n")) {
    const [, name, value] = line.match(/^(\w+): (.*)$/) ?? [];
    if (name) fields[name] = value;
  }
  return fields;
}
