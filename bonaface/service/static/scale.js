// A similarity on its scale: the threshold, and how similar pairs of one person and other pairs are.

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 150, BASE = 120;

function mark(name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export function scale(similarity, threshold, histogram) {
  const edges = histogram?.edges ?? [];
  const low = Math.min(similarity, threshold, ...edges), high = Math.max(similarity, threshold, ...edges);
  const room = 0.04 * (high - low || 1);
  const across = (value) => ((value - low + room) / (high - low + 2 * room)) * WIDTH;
  const said = `similarity ${similarity.toFixed(2)}, threshold ${threshold.toFixed(2)}`;
  const svg = mark("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said, class: "scale" });
  for (const name of ["others", "same"]) {
    const counts = histogram?.[name] ?? [];
    const most = Math.max(1, ...counts);
    counts.forEach((count, n) => {
      const height = (count / most) * (BASE - 24);
      svg.append(mark("rect", { class: name, x: across(edges[n]), y: BASE - height, width: across(edges[n + 1]) - across(edges[n]), height }));
    });
  }
  svg.append(mark("line", { class: "axis", x1: 0, x2: WIDTH, y1: BASE, y2: BASE }));
  for (const [value, kind, text, y] of [[threshold, "cut", "threshold", HEIGHT - 4], [similarity, "mark", "this pair", 16]]) {
    const x = across(value);
    svg.append(mark("line", { class: kind, x1: x, x2: x, y1: 22, y2: BASE + 6 }));
    const anchor = x < 100 ? "start" : x > WIDTH - 100 ? "end" : "middle";
    svg.append(mark("text", { x, y, "text-anchor": anchor }, `${text} ${value.toFixed(2)}`));
  }
  return svg;
}
