// The filter language of `shadowproxy tape`, for the page: text -> a function of a row. A test holds it to filters.py and conditions.py.
// Differences: regular expressions are the browser's, and a message is searched and measured as JSON without blanks.
"use strict";
const compileFilter = (() => {
  const TIME = { us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, m: 60, min: 60, h: 3600 }, NUMBER = { "": 1 };
  const SIZE = { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3 };
  const FIELDS = {
    method: (row) => row.method, tool: (row) => row.tool, prompt: (row) => row.prompt, resource: (row) => row.resource, uri: (row) => row.resource,
    kind: (row) => row.frame.kind, dir: (row) => row.frame.dir, leg: (row) => row.frame.leg ?? "both", era: (row) => row.era, session: (row) => row.frame.session,
    exchange: (row) => row.frame.exchange, id: (row) => (row.frame.id === undefined || typeof row.frame.id === "string" ? row.frame.id : JSON.stringify(row.frame.id)),
  };
  const CHOICES = {
    kind: ["request", "notification", "response", "event", "open", "close", "refusal", "cancelled", "left", "end", "about", "gap"],
    dir: ["c2s", "s2c"], leg: ["both", "client", "server"], era: ["legacy", "modern"],
  };
  const QUANTITIES = {
    dur: [(row) => row.duration, TIME], size: [(row) => size(row.frame), SIZE], n: [(row) => row.frame.n, NUMBER], t: [(row) => row.frame.t, { "": 1, ...TIME }],
    exchange: [(row) => row.frame.exchange, NUMBER], status: [(row) => row.frame.http?.status, NUMBER],
  };
  const COMPARE = { ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "=": (a, b) => a === b, "==": (a, b) => a === b };
  const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
  const STRING = /"(?:[^"\\\n]|\\.)*"/y, VALUE = /[^\s&|()"]+/y;

  return function compile(text) {
    let at = 0;
    blanks();
    if (at === text.length) return () => true;
    const made = either();
    if (at < text.length) throw wrong(text, at, text[at] === ")" ? "no bracket is open here" : "this cannot be read");
    return made;

    function take(pattern) {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      if (found) at = pattern.lastIndex;
      return found && found[0];
    }

    function blanks() { take(/\s*/y); }

    function mark(character) {
      blanks();
      if (text[at] !== character) return false;
      at += 1;
      return true;
    }

    function either() {
      const parts = [both()];
      while (mark("|")) parts.push(both());
      return (row) => parts.some((part) => part(row));
    }

    function both() {
      const parts = [negation()];
      for (blanks(); at < text.length && text[at] !== "|" && text[at] !== ")"; blanks()) { mark("&"); parts.push(negation()); }
      return (row) => parts.every((part) => part(row));
    }

    function negation() {
      if (mark("!")) { const part = negation(); return (row) => !part(row); }
      if (!mark("(")) return condition();
      const part = either();
      if (!mark(")")) throw wrong(text, end(), "a ) is missing here");
      return part;
    }

    function end() { return at < text.length ? at : text.trimEnd().length; }

    function condition() {
      const start = at;
      let name = take(/[A-Za-z_]+[ \t]*:/y);
      if (name) return field(name.slice(0, -1).trimEnd(), start);
      name = take(/[A-Za-z_]+(?=[ \t]*[<>=])/y);
      if (name) return quantity(name, start);
      name = take(/[A-Za-z_]+[ \t]*~/y);
      if (name) return matching(name.slice(0, -1).trimEnd(), start);
      name = take(/[A-Za-z_][\w/.*-]*/y);
      if (name === "err") return (row) => row.error !== undefined;
      if (name) throw wrong(text, start, `there is no '${name}'; text is searched in quotes: "${name}"`);
      name = take(STRING);
      if (name) return holding(unquoted(name).toLowerCase());
      throw wrong(text, end(), text[at] === '"' ? "a quote is opened and never closed" : "a condition is missing here (method:…, tool:…, dur>…, err, \"text\")");
    }

    function value() {
      blanks();
      const start = at, found = take(STRING) || take(VALUE);
      if (!found) throw wrong(text, end(), "a value is missing here");
      return { start, literal: found.startsWith('"'), said: found.startsWith('"') ? unquoted(found) : found };
    }

    function field(name, start) {
      const { start: place, literal, said } = value(), of = own(FIELDS, name);
      if (!of) throw wrong(text, start, `there is no '${name}:'; there is ${Object.keys(FIELDS).join(": ")}:`);
      const glob = literal ? null : globbed(said), match = (found) => (glob ? glob.test(found) : found === said), choices = own(CHOICES, name);
      if (choices && !choices.some(match)) throw wrong(text, place, `${name} is one of ${choices.join(", ")}`);
      return (row) => { const found = of(row); return found !== undefined && found !== null && match(String(found)); };
    }

    function quantity(name, start) {
      blanks();
      const compare = own(COMPARE, take(/[<>]=?|==?/y));
      blanks();
      const place = at, amount = take(/[0-9]+(\.[0-9]+)?[A-Za-zµ]*/y);
      if (!amount) throw wrong(text, end(), "a number is missing here, as in 200ms or 10kb");
      const known = own(QUANTITIES, name);
      if (!known) throw wrong(text, start, `there is no '${name}'; there is ${Object.keys(QUANTITIES).join("> ")}>`);
      const [, number, unit] = /^([0-9.]+)(.*)$/.exec(amount), factor = own(known[1], unit.toLowerCase());
      if (!factor) throw wrong(text, place, `${name} is told in ${Object.keys(known[1]).filter(Boolean).join(", ") || "numbers"}, not as ${amount}`);
      return (row) => { const found = known[0](row); return found !== undefined && found !== null && compare(found, Number(number) * factor); };
    }

    function matching(name, start) {
      const { start: place, said } = value();
      if (name !== "text") throw wrong(text, start, 'a regular expression is for the text of a message: text~"…"');
      try {
        const pattern = new RegExp(said);
        return (row) => carried(row.frame).some((part) => pattern.test(part));
      } catch (error) {
        throw wrong(text, place, error.message);
      }
    }
  };

  function holding(wanted) {
    return (row) => carried(row.frame).some((part) => part.toLowerCase().includes(wanted));
  }

  function globbed(glob) {
    const parts = glob.replace(/\[(!?)(\]?[^\]]*)\]|[\\^$.*+?()[\]{}|]/g, (part, not, inside) => {
      if (inside !== undefined) return `[${not ? "^" : ""}${inside.replace(/[\\\]^[]/g, "\\$&")}]`;
      return part === "*" ? "[^]*" : part === "?" ? "[^]" : `\\${part}`;
    });
    return new RegExp(`^${parts}$`);
  }

  function unquoted(quoted) {
    return quoted.slice(1, -1).replace(/\\(["\\])/g, "$1");
  }

  function size(frame) {
    const text = frame.message !== undefined ? JSON.stringify(frame.message) : frame.text || frame.sse?.data || frame.sse?.comment || "";
    return new TextEncoder().encode(text).length;
  }

  function carried(frame) {
    const found = [frame.text, frame.sse?.data, frame.sse?.comment, frame.error].filter(Boolean);
    if (frame.message === undefined) return found;
    const text = JSON.stringify(frame.message);
    return text.includes("\\") ? [text, ...strings(frame.message), ...found] : [text, ...found];
  }

  function strings(value) {
    if (typeof value === "string") return [value];
    if (Array.isArray(value)) return value.flatMap(strings);
    return value && typeof value === "object" ? Object.entries(value).flatMap(([name, part]) => [name, ...strings(part)]) : [];
  }

  function wrong(text, column, what) {
    return new Error(`${text}\n${" ".repeat(column)}^ ${what}`);
  }
})();
