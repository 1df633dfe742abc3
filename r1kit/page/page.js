"use strict";
// The page of a report. Whatever a model wrote reaches the page as text of a node, never as HTML.
(() => {
  const PROBLEMS = 10; // on a page
  const FEW = 4; // rollouts of a problem that are shown at first
  const VERDICTS = {
    correct: "✓ right", wrong: "✗ wrong", no_answer: "✗ no answer", timeout: "✗ timed out",
    gold_unparseable: "gold answer unreadable", chosen: "✓ preferred", rejected: "✗ rejected",
  };
  const data = JSON.parse(document.getElementById("data").textContent);

  /** Return an element with properties and children; strings become text. */
  const el = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  };
  const option = (value, label) => el("option", { value, textContent: label });
  const number = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toFixed(3)));
  const fact = (name, value) => el("span", {}, `${name} `, el("b", {}, String(value)));
  const facts = (...items) => el("p", { className: "facts" }, ...items);

  // --- light and dark

  const root = document.documentElement;
  const switcher = document.getElementById("theme");
  const remembered = () => { try { return localStorage.getItem("r1kit-theme"); } catch { return null; } };
  const isDark = () => getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const setTheme = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    switcher.textContent = isDark() ? "Light" : "Dark";
    switcher.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  switcher.hidden = false;
  setTheme(remembered());
  switcher.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    setTheme(theme);
    try { localStorage.setItem("r1kit-theme", theme); } catch { /* the browser keeps nothing */ }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(root.dataset.theme));

  // --- samples of reflection

  const samples = document.getElementById("samples");
  for (const sample of samples ? data.reflections : []) {
    samples.append(el("article", { className: `rollout ${sample.verdict ?? ""}` },
      facts(el("span", {}, el("b", {}, sample.run)), fact("step", sample.step), verdictOf(sample)),
      el("p", { className: "text" }, sample.before.trimStart(), el("mark", {}, sample.word), sample.after)));
  }

  // --- the rollouts

  function verdictOf(record) {
    return el("span", { className: "verdict" }, VERDICTS[record.verdict] ?? record.verdict ?? "not judged");
  }

  /** Return the reasoning and what follows it; [null, text] where nothing tells them apart. */
  function divide(text) {
    const end = text.indexOf("</think>");
    if (end < 0) return [null, text];
    return [text.slice(0, end).replace(/^\s*<think>/, "").trim(), text.slice(end + "</think>".length).trim()];
  }

  function textBlock(text) {
    return el("p", { className: "text" }, text);
  }

  function body(record, unfolded) {
    if (record.steps) return record.steps.map(([step, label]) => el("p", { className: "text" }, el("b", {}, `${number(Number(label))}  `), step));
    if (record.votes) return [facts(...record.votes.map(([answer, votes]) => fact(answer, number(votes))))];
    if (record.text === undefined) return record.error ? [textBlock(record.error)] : [];
    const [reasoning, answer] = divide(record.text);
    const folded = (title, text) => el("details", { open: unfolded },
      el("summary", {}, `${title}, ${number(text.length)} characters`), textBlock(text));
    if (reasoning !== null) return [folded("Reasoning", reasoning), textBlock(answer)];
    return [answer.length > 700 ? folded("Completion", answer) : textBlock(answer.trim())];
  }

  function rolloutCard(record, unfolded, withStage) {
    const source = data.sources[record.source];
    const step = record.step === undefined ? null : fact("step", record.step);
    const parts = Object.entries(record.rewards ?? {}).map(([name, value]) => fact(name, value === null ? "–" : number(value)));
    return el("article", { className: `rollout ${record.verdict ?? ""}` },
      facts(
        "text" in record || record.votes ? verdictOf(record) : null,
        withStage ? el("span", {}, el("b", {}, source.label)) : null,
        step,
        record.sample === undefined ? null : fact("sample", record.sample),
        record.tokens === undefined ? null : fact("tokens", number(record.tokens)),
        record.finish === "length" ? el("span", {}, "cut at the limit") : null),
      ...body(record, unfolded),
      el("div", { className: "parts" }, facts(
        record.extracted === undefined || record.extracted === null ? null : fact("answer read", record.extracted),
        record.reward === undefined ? null : fact("reward", number(record.reward)),
        record.score === undefined ? null : fact("score", number(record.score)),
        ...parts)));
  }

  /** Return cards, a few at first and a button for the others. */
  function cards(records, unfolded, withStage) {
    const list = el("div", { className: "rollouts" }, ...records.slice(0, FEW).map((r) => rolloutCard(r, unfolded, withStage)));
    const rest = records.slice(FEW);
    if (!rest.length) return [list];
    const more = el("button", { type: "button", className: "more" }, `Show ${rest.length} more`);
    more.addEventListener("click", () => {
      list.append(...rest.map((r) => rolloutCard(r, unfolded, withStage)));
      more.remove();
    });
    return [list, more];
  }

  function rightOf(records) {
    const judged = records.filter((r) => r.verdict && r.verdict !== "gold_unparseable");
    const right = judged.filter((r) => r.verdict === "correct").length;
    return { judged: judged.length, right, share: judged.length ? right / judged.length : null };
  }

  function side(source, records, unfolded) {
    const { judged, right } = rightOf(records);
    const count = judged ? `${right} of ${judged} right` : `${records.length}`;
    return el("div", {}, el("h4", {}, data.sources[source].label), facts(el("span", {}, count)), ...cards(records, unfolded, false));
  }

  function problemCard({ problem, records, other }, state) {
    const known = data.problems[problem];
    const card = el("article", { className: `problem ${known.kind ?? ""}` },
      el("div", { className: "prompt" }, textBlock(known.prompt)),
      facts(
        known.answer === undefined ? null : fact("gold answer", known.answer),
        known.kind ? fact("kind", known.kind) : null,
        known.language ? fact("language", known.language) : null,
        el("span", {}, known.id)));
    if (other) card.append(el("div", { className: "sides" }, side(state.stage, records, state.unfolded), side(state.against, other, state.unfolded)));
    else if ("text" in records[0] || records[0].steps || records[0].votes) card.append(...cards(records, state.unfolded, state.stage === ""));
    return card;
  }

  const browser = document.getElementById("browser");
  if (browser) browse();

  function browse() {
    const controls = Object.fromEntries(["stage", "against", "kind", "verdict", "language", "query", "unfolded"]
      .map((name) => [name, document.getElementById(name)]));
    const status = document.getElementById("status");
    const list = document.getElementById("list");
    const pagers = [...browser.querySelectorAll(".pager")];
    const bySource = data.sources.map(() => new Map());
    for (const record of data.records) {
      const groups = bySource[record.source];
      if (!groups.has(record.problem)) groups.set(record.problem, []);
      groups.get(record.problem).push(record);
    }
    let page = 0;

    const values = (read) => [...new Set(data.records.map(read))].filter((value) => value !== undefined && value !== null).sort();
    const fill = (name, items, label) => controls[name].replaceChildren(option("", label), ...items.map(([value, text]) => option(value, text)));
    const stages = data.sources.map((source, place) => [String(place), source.label]);
    const problemOf = (record) => data.problems[record.problem];
    fill("stage", stages, "all");
    fill("against", stages, "nothing");
    fill("kind", values((r) => problemOf(r).kind).map((v) => [v, v]), "all");
    fill("language", values((r) => problemOf(r).language).map((v) => [v, v]), "all");
    fill("verdict", values((r) => r.verdict).map((v) => [v, (VERDICTS[v] ?? v).replace(/^[✓✗] /, "")]), "all");
    for (const control of Object.values(controls)) {
      if (control.tagName === "SELECT" && control.options.length < 3 && control !== controls.against) control.disabled = control.options.length < 2;
    }

    function read() {
      return {
        stage: controls.stage.value, against: controls.against.value, kind: controls.kind.value, verdict: controls.verdict.value,
        language: controls.language.value, query: controls.query.value.trim().toLowerCase(), unfolded: controls.unfolded.checked,
      };
    }

    function matches(record, state) {
      const problem = problemOf(record);
      if (state.stage !== "" && String(record.source) !== state.stage) return false;
      if (state.kind && problem.kind !== state.kind) return false;
      if (state.language && problem.language !== state.language) return false;
      if (state.verdict && record.verdict !== state.verdict) return false;
      if (!state.query) return true;
      const texts = [record.text, record.extracted, problem.prompt, problem.answer, problem.id, ...(record.steps ?? []).map(([step]) => step)];
      return texts.some((text) => text !== undefined && text !== null && String(text).toLowerCase().includes(state.query));
    }

    /** Return the problems that have records which match; compared, those that both stages have, most different first. */
    function find(state) {
      const found = new Map();
      for (const record of data.records) {
        if (!matches(record, state)) continue;
        if (!found.has(record.problem)) found.set(record.problem, []);
        found.get(record.problem).push(record);
      }
      const items = [...found].map(([problem, records]) => ({ problem, records, other: null }));
      if (state.stage === "") for (const { records } of items) records.sort((a, b) => (a.sample ?? 0) - (b.sample ?? 0)); // of each stage one, then the next
      if (state.stage === "" || state.against === "") return items;
      const both = items.filter(({ problem }) => bySource[state.against].has(problem));
      for (const item of both) {
        item.other = bySource[state.against].get(item.problem);
        const whole = bySource[state.stage].get(item.problem);
        item.difference = Math.abs((rightOf(whole).share ?? 0) - (rightOf(item.other).share ?? 0));
      }
      return both.sort((one, two) => two.difference - one.difference);
    }

    function show() {
      const state = read();
      const items = find(state);
      const pages = Math.max(1, Math.ceil(items.length / PROBLEMS));
      page = Math.min(page, pages - 1);
      const shown = items.slice(page * PROBLEMS, (page + 1) * PROBLEMS);
      list.replaceChildren(...shown.map((item) => problemCard(item, state)));
      const records = items.reduce((sum, item) => sum + item.records.length, 0);
      const compared = shown.length && shown[0].other ? ", those that differ most first" : "";
      const wanting = state.against !== "" && state.stage === "" ? " Choose a stage to compare with it." : "";
      status.textContent = `${number(items.length)} problems, ${number(records)} records${compared}.${wanting}`;
      for (const pager of pagers) {
        const [back, place, forth] = pager.children;
        place.textContent = `page ${page + 1} of ${number(pages)}`;
        back.disabled = page === 0;
        forth.disabled = page === pages - 1;
        pager.hidden = pages === 1;
      }
    }

    const restart = () => { page = 0; show(); };
    let waiting = 0;
    controls.query.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(restart, 150); });
    for (const [name, control] of Object.entries(controls)) if (name !== "query") control.addEventListener("change", restart);
    for (const pager of pagers) {
      const turn = (by) => { page += by; show(); browser.scrollIntoView(); };
      pager.children[0].addEventListener("click", () => turn(-1));
      pager.children[2].addEventListener("click", () => turn(1));
    }
    show();
  }
})();
