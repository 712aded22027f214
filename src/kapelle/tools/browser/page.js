// Reads a page and aims at what is on it. Runs in a world of its own: it shares the page's elements, not its scripts,
// so a page that changes what functions do (elementFromPoint, say) changes nothing here.
//
// Text that no person could see is counted, not read: it is where instructions to a model are hidden. Not noticed is
// text that lies under an image, or that a blend or a mask makes unseen.
(() => {
  if (globalThis.kapelle) return;

  const SKIPPED = new Set(["script", "style", "noscript", "template", "iframe", "frame", "object", "embed", "canvas"]);
  const ROLES = { link: "link", button: "button", tab: "button", menuitem: "button", option: "button", switch: "button",
                  checkbox: "checkbox", radio: "radio", textbox: "field", combobox: "field", searchbox: "field" };
  const PRESSED = new Set(["button", "submit", "reset", "image"]);
  const LEAST_PX = 4;         // text of less height is a line
  const LEAST_CONTRAST = 1.2; // WCAG asks for 4.5; light grey on white, which few can read, has 1.3
  const LEAST_OPACITY = 0.1;
  const NOTHING = { left: 0, top: 0, right: 0, bottom: 0 };

  const parent = (node) => node.assignedSlot || node.parentNode || node.host || null;
  const squeeze = (text, most) => (text || "").slice(0, most * 4).replace(/\s+/g, " ").trim().slice(0, most);
  const own = (text) => text.replace(/⟦/g, "[").replace(/⟧/g, "]");

  // --- What can be seen ---

  const painter = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colours = new Map();
  const colour = (words) => {
    if (!colours.has(words)) {
      painter.clearRect(0, 0, 1, 1);
      painter.fillStyle = "rgba(0, 0, 0, 0)";
      painter.fillStyle = words;
      painter.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = painter.getImageData(0, 0, 1, 1).data;
      colours.set(words, [red, green, blue, alpha / 255]);
    }
    return colours.get(words);
  };
  const over = (top, alpha, below) => [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
  const luminance = (rgb) => rgb.reduce((sum, value, i) => {
    const part = value / 255;
    return sum + [0.2126, 0.7152, 0.0722][i] * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };

  const intersect = (rect, clip) => clip === null ? rect : {
    left: Math.max(rect.left, clip.left), top: Math.max(rect.top, clip.top),
    right: Math.min(rect.right, clip.right), bottom: Math.min(rect.bottom, clip.bottom),
  };
  const isEmpty = (rect) => rect.right - rect.left < 1 || rect.bottom - rect.top < LEAST_PX;
  const isOutside = (rect) => {
    const style = getComputedStyle(document.documentElement);
    const cannotScroll = [style, document.body && getComputedStyle(document.body)]
      .some((each) => each && ["hidden", "clip"].includes(each.overflowX));
    return rect.bottom + scrollY <= 0 || (style.direction !== "rtl" && rect.right + scrollX <= 0)
      || (cannotScroll && rect.left >= innerWidth);
  };

  const clipOf = (element, style, clip) => {
    if (/^rect\((0|1)px,? (0|1)px,? (0|1)px,? (0|1)px\)$/.test(style.clip)) return NOTHING;
    if (/^(inset\((50|[6-9]\d|100)%|circle\(0|ellipse\(0)/.test(style.clipPath)) return NOTHING;
    if (element === document.documentElement || element === document.body) return clip;
    const ways = [style.overflowX, style.overflowY];
    if (ways.every((way) => way === "visible") || style.display.startsWith("inline") && style.display === "inline") return clip;
    const box = element.getBoundingClientRect();
    const left = intersect(box, clip);
    if (ways.some((way) => way === "hidden" || way === "clip")) return left;
    return isEmpty(left) ? NOTHING : null; // its content can be scrolled into sight
  };

  // What an element hands down: how much shows through, what cuts it off, what lies behind it.
  const ROOT = { opacity: 1, clip: null, placedClip: null, back: [255, 255, 255], keeps: false, hand: false, inside: false };
  const inherit = (element, style, from) => {
    const state = { ...from };
    const filtered = /opacity\(([\d.]+)(%?)\)/.exec(style.filter);
    state.opacity *= Number(style.opacity) * (filtered ? filtered[1] / (filtered[2] ? 100 : 1) : 1);
    if (style.position === "fixed") state.clip = null;
    if (style.position === "absolute") state.clip = from.placedClip;
    state.clip = clipOf(element, style, state.clip);
    if (style.position !== "static") state.placedClip = state.clip;
    const paint = colour(style.backgroundColor);
    if (style.backgroundImage !== "none" && paint[3] < 1) state.back = null;
    else if (style.backgroundImage !== "none") state.back = null;
    else if (paint[3] === 1) state.back = paint.slice(0, 3);
    else if (state.back) state.back = over(paint, paint[3], state.back);
    state.keeps = style.whiteSpace.startsWith("pre");
    return state;
  };
  const isSeen = (rect, style, state) =>
    style.visibility === "visible" && state.opacity >= LEAST_OPACITY && !isEmpty(intersect(rect, state.clip)) && !isOutside(rect);
  const isLegible = (style, state) => {
    const ink = colour(style.webkitTextFillColor);
    const alpha = ink[3] * state.opacity;
    if (alpha < LEAST_OPACITY) return false;
    return state.back === null || contrast(over(ink, alpha, state.back), state.back) >= LEAST_CONTRAST;
  };
  const stateOf = (element) => {
    const way = [];
    for (let node = element; node; node = parent(node)) if (node.nodeType === 1) way.unshift(node);
    return way.reduce((state, node) => inherit(node, getComputedStyle(node), state), ROOT);
  };
  const canBeSeen = (element) => element.isConnected && element.checkVisibility()
    && isSeen(element.getBoundingClientRect(), getComputedStyle(element), stateOf(element));

  // --- What can be used ---

  const kindOf = (element, style, state) => {
    const name = element.localName;
    const role = (element.getAttribute("role") || "").trim().toLowerCase();
    if (name === "a" && element.hasAttribute("href")) return "link";
    if (name === "button" || name === "summary") return "button";
    if (name === "select") return "choice";
    if (name === "textarea") return "field";
    if (name === "input") {
      if (element.type === "hidden") return "";
      if (element.type === "checkbox" || element.type === "radio") return element.type;
      return PRESSED.has(element.type) ? "button" : "field";
    }
    if (element.isContentEditable && !(element.parentElement && element.parentElement.isContentEditable)) return "field";
    if (Object.hasOwn(ROLES, role)) return ROLES[role];
    if (element.hasAttribute("onclick")) return "area";
    return style && style.cursor === "pointer" && !state.hand && !state.inside && name !== "label" ? "area" : "";
  };
  const labelOf = (element) => squeeze(
    [...(element.labels || [])].map((label) => label.innerText).join(" ") || element.getAttribute("aria-label")
    || element.getAttribute("placeholder") || element.getAttribute("title") || element.getAttribute("alt")
    || (PRESSED.has(element.type) ? element.value || element.type : "")
    || (element.querySelector("img[alt]") || { alt: "" }).alt || element.getAttribute("name"), 100);
  const isOff = (element) => element.matches(":disabled") || element.getAttribute("aria-disabled") === "true";
  const held = (element) => {
    if (element.localName === "select") {
      const all = [...element.options].slice(0, 50).map((option) => squeeze(option.label, 50));
      return `= ${JSON.stringify([...element.selectedOptions].map((each) => squeeze(each.label, 50)).join(", "))} of ${JSON.stringify(all)}`;
    }
    if (element.type === "checkbox" || element.type === "radio") return element.checked ? "(on)" : "(off)";
    if (element.type === "password") return element.value ? "= (hidden)" : '= ""';
    return `= ${JSON.stringify(squeeze(element.value === undefined ? element.innerText : element.value, 200))}`;
  };
  // By what a person tells an element from another: its kind, its words, where it leads, and the row that it is in.
  const fingerprint = (element) => {
    const row = element.closest("li, tr, dd, dt, article, label, [role=row], [role=listitem]");
    return JSON.stringify([element.localName, element.type || "", kindOf(element, null, {}), element.href || element.formAction || "",
      squeeze(element.innerText, 200) || labelOf(element), row ? squeeze(row.innerText, 300) : ""]);
  };
  const describe = (element) => {
    if (!element) return "nothing";
    const box = element.closest("[role=dialog], dialog, [id], [class]") || element;
    const mark = box.id ? `#${box.id}` : box.classList.length ? `.${box.classList[0]}` : "";
    const words = squeeze(box.innerText || labelOf(box), 80);
    return own(`<${box.localName}${squeeze(mark, 40)}>${words ? ` with the words ${JSON.stringify(words)}` : ""}`);
  };

  let known = new Map(); // number -> { element, mark }

  const read = ({ first, start, chars, most, nodes, ms }) => {
    known = new Map();
    const elements = [], parts = [], until = performance.now() + ms;
    let length = 0, hidden = 0, seen = 0, number = first, cut = false;
    const write = (text) => { parts.push(text); length += text.length; };
    const begin = (element, kind) => {
      const entry = [number, kind, "", element.href && typeof element.href === "string" ? element.href : ""];
      known.set(number, { element, mark: fingerprint(element) });
      elements.push(entry);
      write(`⟦${number} ${kind}: `);
      number += 1;
      return entry;
    };
    const finish = (element, entry, from) => {
      const words = squeeze(parts.slice(from).join(""), 200);
      const isField = ["field", "choice", "checkbox", "radio"].includes(entry[1]);
      entry[2] = words || labelOf(element);
      if (isField) write(`${own(labelOf(element))} ${own(held(element))}`);
      else if (!words) write(own(labelOf(element)));
      write(`${isOff(element) ? " (disabled)" : ""}⟧`);
    };
    const waiting = document.documentElement ? [{ node: document.documentElement, state: ROOT }] : [];
    while (waiting.length) {
      const { node, state, then } = waiting.pop();
      if (then) { then(); continue; }
      if (length >= start + chars || (seen += 1) > nodes || (seen % 256 === 0 && performance.now() > until)) { cut = true; break; }
      if (node.nodeType === 3) {
        const text = own(state.keeps ? node.data : node.data.replace(/\s+/g, " "));
        if (!text.trim()) { if (text && !state.inside) write(" "); continue; }
        const range = document.createRange();
        range.selectNodeContents(node);
        const style = getComputedStyle(node.parentElement || node.getRootNode().host);
        if (isSeen(range.getBoundingClientRect(), style, state) && isLegible(style, state)) write(text);
        else hidden += text.trim().length;
        continue;
      }
      if (node.nodeType !== 1 || SKIPPED.has(node.localName) || node.localName === "head") continue;
      const style = getComputedStyle(node);
      if (style.display !== "contents" && !node.checkVisibility()) { hidden += squeeze(node.textContent, 100000).length; continue; }
      const inner = inherit(node, style, state);
      const kind = kindOf(node, style, state);
      const rect = node.getBoundingClientRect();
      const isUsable = kind && number - first < most && length >= start
        && (isSeen(rect, style, inner) || style.display === "inline" && isSeen(rect, style, { ...inner, clip: null }) && node.innerText
            || [...(node.labels || [])].some(canBeSeen));
      inner.hand = style.cursor === "pointer";
      const isBlock = !/^(inline|contents|ruby|none)/.test(style.display);
      const edge = style.display === "table-cell" ? " | " : isBlock ? "\n" : "";
      if (node.localName === "br") write("\n");
      if (edge === "\n") write(edge);
      const level = /^h([1-6])$/.exec(node.localName);
      if (level) write(`${"#".repeat(level[1])} `);
      if (node.localName === "li") write("- ");
      if (edge) waiting.push({ then: () => write(edge) });
      if (isUsable) {
        const entry = begin(node, kind), from = parts.length;
        inner.inside = true;
        waiting.push({ then: () => finish(node, entry, from) });
      }
      if (["select", "textarea"].includes(node.localName) || (kind === "field" && isUsable)) continue;
      const children = node.localName === "details" && !node.open ? [...node.children].filter((each) => each.localName === "summary")
        : node.localName === "slot" && node.assignedNodes().length ? node.assignedNodes()
        : (node.shadowRoot || node).childNodes;
      for (let i = children.length - 1; i >= 0; i -= 1) waiting.push({ node: children[i], state: inner });
    }
    for (const { then } of waiting.reverse()) if (then) then(); // what has begun is ended
    const text = parts.join("").slice(start).replace(/[ \t]*\n[ \t]*(\n[ \t]*)+/g, "\n\n").replace(/ {2,}/g, " ").trim();
    return { text, elements, hidden, cut, next: number };
  };

  // --- What is aimed at ---

  const deepest = (x, y) => {
    let found = document.elementFromPoint(x, y);
    while (found && found.shadowRoot) {
      const inner = found.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  };
  const accepts = (element, hit) => {
    for (let node = hit; node; node = parent(node)) {
      if (node === element || (node.localName === "label" && node.control === element)) return true;
    }
    return false;
  };
  const find = (number) => {
    const entry = known.get(number);
    if (!entry) return { problem: "unknown" };
    if (!entry.element.isConnected) return { problem: "gone" };
    if (fingerprint(entry.element) !== entry.mark) return { problem: "changed" };
    if (isOff(entry.element)) return { problem: "disabled" };
    return { element: entry.element };
  };

  let guarded = null;
  const KINDS = ["pointerdown", "mousedown", "pointerup", "mouseup", "click"];
  const judge = (event) => {
    if (!guarded || !event.isTrusted) return;
    const hit = event.composedPath()[0];
    if (accepts(guarded.element, hit)) { guarded.hit = true; return; }
    event.preventDefault();
    event.stopImmediatePropagation();
    guarded.missed = describe(hit.nodeType === 1 ? hit : document.documentElement);
  };

  const aim = ({ number }) => {
    const { element, problem } = find(number);
    if (problem) return { problem };
    if (element.type === "file") return { problem: "file" };
    const link = element.closest("a[href]") || element;
    if (link.href && !/^https?:/.test(link.href)) return { problem: "scheme", told: squeeze(link.href, 80) };
    const target = canBeSeen(element) ? element : [...(element.labels || [])].find(canBeSeen);
    if (!target) return { problem: "unseen" };
    target.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    let covered = null;
    for (const box of [target.getBoundingClientRect(), ...[...target.getClientRects()].slice(0, 3)]) {
      const x = (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2;
      const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
      const hit = deepest(x, y);
      if (accepts(element, hit)) {
        if (!guarded) for (const kind of KINDS) addEventListener(kind, judge, true);
        guarded = { element, hit: false, missed: null };
        return { x, y, kind: kindOf(element, null, {}) };
      }
      covered = covered || describe(hit);
    }
    return { problem: "covered", told: covered };
  };
  // Leads a point in a frame out to the page that the frame stands in.
  const through = (frame, x, y) => {
    const box = frame.getBoundingClientRect();
    const outer = { x: x + box.left + frame.clientLeft, y: y + box.top + frame.clientTop };
    const hit = deepest(outer.x, outer.y);
    return hit === frame ? outer : { problem: "covered", told: describe(hit) };
  };
  const outcome = () => {
    const { hit, missed } = guarded || {};
    guarded = guarded && { element: guarded.element, hit: false, missed: null };
    for (const kind of KINDS) removeEventListener(kind, judge, true);
    guarded = null;
    return { hit: Boolean(hit), missed: missed || null };
  };

  const fill = ({ number, text }) => {
    const { element, problem } = find(number);
    if (problem) return { problem };
    if (element.type === "file") return { problem: "file" };
    if (element.localName === "select") {
      const option = [...element.options].find((each) => squeeze(each.label, 1000) === squeeze(text, 1000) || each.value === text);
      if (!option || option.disabled) return { problem: "option", told: JSON.stringify([...element.options].slice(0, 50).map((each) => squeeze(each.label, 50))) };
      element.value = option.value;
      element.selectedIndex = option.index;
    } else {
      const isInput = element.localName === "input" || element.localName === "textarea";
      if (!isInput && !element.isContentEditable || ["checkbox", "radio", ...PRESSED].includes(element.type)) return { problem: "no field" };
      if (element.readOnly) return { problem: "read only" };
      element.focus();
      if (isInput) element.select();
      else getSelection().selectAllChildren(element);
      const typed = document.execCommand(text ? "insertText" : "delete", false, text);
      if (!typed || (isInput && element.value !== text)) {
        if (isInput) element.value = text;
        else element.textContent = text;
      }
    }
    element.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
    if (element.value !== undefined && element.localName !== "select" && element.value.replace(/\r?\n/g, "\n") !== text.replace(/\r?\n/g, "\n")) {
      return { problem: "not taken", told: element.type === "password" ? "" : squeeze(element.value, 80) };
    }
    return {};
  };

  globalThis.kapelle = { read, aim, through, outcome, fill };
})();
