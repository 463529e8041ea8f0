// The little Markdown that models write, as elements; HTML in it stays text.

export function element(name, content = [], properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat());
  return made;
}

export function markdown(text) {
  const made = [];
  const parts = text.split(/^```.*\n?/m);
  parts.forEach((part, number) => {
    if (number % 2) made.push(element("pre", element("code", part.trimEnd())));
    else made.push(...blocks(part));
  });
  return made;
}

function blocks(text) {
  const made = [];
  let list = null;
  for (const lines of text.split(/\n{2,}|\n(?=\s*(?:[-*]|\d+\.|#+)\s)/)) {
    const [, mark, rest] = lines.trim().match(/^([-*]|\d+\.|#+)\s+([^]*)$/) ?? [];
    if (!lines.trim()) continue;
    if (!mark || mark.startsWith("#")) {
      list = null;
      made.push(mark ? element("h3", inline(rest)) : element("p", inline(lines.trim())));
      continue;
    }
    const name = /\d/.test(mark) ? "ol" : "ul";
    if (list?.localName !== name) {
      list = element(name);
      if (name === "ol") list.start = parseInt(mark, 10);
      made.push(list);
    }
    list.append(element("li", inline(rest)));
  }
  return made;
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/).map((piece) => {
    if (/^`.+`$/.test(piece)) return element("code", piece.slice(1, -1));
    if (/^\*\*.+\*\*$/s.test(piece)) return element("strong", piece.slice(2, -2));
    if (/^\*.+\*$/s.test(piece)) return element("em", piece.slice(1, -1));
    return piece;
  });
}
