// A place for one photo: choose it, drop it, paste it, or photograph it.

// Where a recogniser expects right eye, left eye, nose tip and the corners of the mouth, in a square of 112.
const TEMPLATE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];
const SIZE = 112;

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class Slot {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.file = null;
    const id = `file-${root.dataset.slot}`;
    this.shown = element("div", { className: "shown" });
    this.input = element("input", { type: "file", accept: "image/*", id });
    const choose = element("label", { className: "button", htmlFor: id, textContent: "Choose a file" });
    choose.append(element("span", { className: "unseen", textContent: ` for ${root.dataset.title}` }));
    const shoot = element("button", { type: "button", textContent: "Photograph" });
    this.note = element("p", { className: "soft" });
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", root.dataset.title);
    root.append(element("h3", { textContent: root.dataset.title }), this.shown, element("div", { className: "row" }, this.input, choose, shoot), this.note);
    this.input.addEventListener("change", () => this.take(this.input.files[0]));
    shoot.addEventListener("click", () => photograph((file) => this.take(file)));
    root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      this.take(event.dataTransfer.files[0]);
    });
    this.empty();
  }

  empty() {
    this.shown.replaceChildren(element("p", { className: "empty", textContent: "Drop a photo here, or paste one." }));
  }

  take(file) {
    if (!file) return;
    this.file = file;
    this.note.textContent = "";
    const image = element("img", { alt: `${this.root.dataset.title}: ${file.name || "pasted"}`, src: URL.createObjectURL(file) });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.addEventListener("error", () => { this.note.textContent = "The browser can't show this file; the service may say why."; }, { once: true });
    this.shown.replaceChildren(element("figure", {}, image));
    this.changed();
  }

  // What the service says of a file, if it is still the one that is shown.
  async tell(seen, file) {
    if (this.file !== file) return;
    this.note.textContent = seen?.problem ?? "";
    const face = seen?.faces?.[0];
    if (!face || seen.quality.rotated) return; // the points are those of the photo turned upright
    const canvas = element("canvas", { width: SIZE, height: SIZE });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "the face as the model sees it");
    try {
      const bitmap = await createImageBitmap(file);
      const scale = Math.max(bitmap.width, bitmap.height) / Math.max(...seen.quality.size); // large photos are looked at smaller
      drawAligned(canvas, bitmap, face.points.map((point) => point.map((value) => value * scale)));
    } catch {
      return;
    }
    if (this.file !== file) return;
    const genuine = seen.genuine === null ? "" : `, looks genuine with ${percent(seen.genuine)}`;
    this.shown.querySelector("figure + figure")?.remove();
    this.shown.append(element("figure", {}, canvas, element("figcaption", { textContent: `as the model sees it${genuine}` })));
  }
}

export function percent(p) {
  if (p > 0.9995) return "over 99.9 %";
  if (p < 0.0005) return "under 0.1 %";
  return `${(100 * p).toFixed(p > 0.1 && p < 0.9 ? 0 : 1)} %`;
}

// The similarity transform that lays the points nearest to the template, in the least-squares sense.
function drawAligned(canvas, bitmap, points) {
  const mean = (list) => [0, 1].map((axis) => list.reduce((sum, point) => sum + point[axis], 0) / list.length);
  const [px, py] = mean(points), [tx, ty] = mean(TEMPLATE);
  let a = 0, b = 0, spread = 0;
  points.forEach(([x, y], n) => {
    const [u, v, s, t] = [x - px, y - py, TEMPLATE[n][0] - tx, TEMPLATE[n][1] - ty];
    a += u * s + v * t;
    b += u * t - v * s;
    spread += u * u + v * v;
  });
  a /= spread;
  b /= spread;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.setTransform(a, b, -b, a, tx - a * px + b * py, ty - b * px - a * py);
  context.drawImage(bitmap, 0, 0);
}

async function photograph(done) {
  const dialog = document.getElementById("camera"), video = document.getElementById("video");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  } catch {
    window.alert("No camera can be used: there is none, it was not allowed, or the page is not served over HTTPS or from this machine.");
    return;
  }
  video.srcObject = stream;
  dialog.showModal();
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  dialog.addEventListener("close", stop, { once: true });
  document.getElementById("camera-close").onclick = () => dialog.close();
  const shoot = document.getElementById("shoot");
  shoot.disabled = !video.videoWidth; // until the camera's first frame
  video.onloadeddata = () => { shoot.disabled = false; };
  shoot.onclick = () => {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => { dialog.close(); done(new File([blob], "photograph.png", { type: "image/png" })); }, "image/png");
  };
}
