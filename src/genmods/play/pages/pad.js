// A square to draw on, to drop a picture on, and with `mask` to paint a part of that picture.

const SIDE = 280, PEN = 26, LARGEST = 512;

export class Pad {
  constructor(change, { mask = false, name = "Picture" } = {}) {
    this.change = change;
    this.root = document.createElement("div");
    this.root.className = "stack";
    this.frame = document.createElement("div");
    this.frame.className = "pad";
    this.under = this.layer(`${name}: draw here, or drop an image`);
    this.over = mask ? this.layer("Paint the part to fill") : null;
    this.over?.classList.add("mask");
    this.root.append(this.frame);
    this.pen = { canvas: this.over ?? this.under, color: mask ? "#ff8a1f" : "#ffffff" };
    this.tools();
    this.clear(false);
    this.listen();
  }

  layer(label) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    canvas.setAttribute("aria-label", label);
    canvas.setAttribute("role", "img");
    this.frame.append(canvas);
    return canvas;
  }

  tools() {
    this.buttons = document.createElement("div");
    this.buttons.className = "row";
    const file = document.createElement("input");
    file.type = "file";
    file.accept = "image/*";
    file.hidden = true;
    file.addEventListener("change", () => file.files[0] && this.open(file.files[0]));
    this.button("Clear", () => this.clear());
    this.button("Open …", () => file.click());
    this.buttons.append(file);
    this.root.append(this.buttons);
  }

  button(text, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", act);
    this.buttons.append(button);
    return button;
  }

  listen() {
    const { canvas } = this.pen;
    let last = null;
    const at = event => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * SIDE / box.width, (event.clientY - box.top) * SIDE / box.height];
    };
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      last = at(event);
      this.stroke(last, last);
    });
    canvas.addEventListener("pointermove", event => {
      if (last === null) return;
      const here = at(event);
      this.stroke(last, here);
      last = here;
      this.change();
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => { if (last !== null) { last = null; this.change(); } });
    this.frame.addEventListener("dragover", event => { event.preventDefault(); this.frame.classList.add("over"); });
    this.frame.addEventListener("dragleave", () => this.frame.classList.remove("over"));
    this.frame.addEventListener("drop", event => {
      event.preventDefault();
      this.frame.classList.remove("over");
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
  }

  stroke(from, to) {
    const { canvas, color } = this.pen, draw = canvas.getContext("2d");
    draw.strokeStyle = color;
    draw.lineWidth = this.over ? PEN * 1.6 : PEN;
    draw.lineCap = draw.lineJoin = "round";
    draw.beginPath();
    draw.moveTo(...from);
    draw.lineTo(to[0] + 0.01, to[1]);
    draw.stroke();
    this.empty = false;
    if (this.over) this.painted = true;
    else this.source = null;
  }

  clear(report = true) {
    const draw = this.under.getContext("2d");
    if (this.over) {
      this.over.getContext("2d").clearRect(0, 0, SIDE, SIDE);
      this.painted = false;
      if (this.source === undefined) { draw.fillStyle = "#000"; draw.fillRect(0, 0, SIDE, SIDE); }
    } else {
      draw.fillStyle = "#000";
      draw.fillRect(0, 0, SIDE, SIDE);
      this.source = null;
      this.drawing = true;
      this.empty = true;
    }
    if (report) this.change();
  }

  async open(file) {
    const address = URL.createObjectURL(file);
    try {
      const image = await loaded(address), share = Math.min(1, LARGEST / Math.max(image.width, image.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(image.width * share));
      canvas.height = Math.max(1, Math.round(image.height * share));
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      await this.show(canvas.toDataURL("image/png"));
    } catch {
      this.failed?.(`${file.name}: cannot be read as an image`);
    } finally {
      URL.revokeObjectURL(address);
    }
  }

  async show(source) {
    const image = await loaded(source), draw = this.under.getContext("2d");
    draw.imageSmoothingEnabled = image.width > 100;
    draw.fillStyle = "#000";
    draw.fillRect(0, 0, SIDE, SIDE);
    const share = SIDE / Math.min(image.width, image.height), [w, h] = [image.width * share, image.height * share];
    draw.drawImage(image, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    this.source = source;
    this.drawing = false;
    this.empty = false;
    this.change();
  }

  get picture() { return this.source ?? this.under.toDataURL("image/png"); }

  get mask() {
    const canvas = document.createElement("canvas"), draw = canvas.getContext("2d");
    canvas.width = canvas.height = SIDE;
    draw.drawImage(this.over, 0, 0);
    draw.globalCompositeOperation = "source-in";
    draw.fillStyle = "#fff";
    draw.fillRect(0, 0, SIDE, SIDE);
    draw.globalCompositeOperation = "destination-over";
    draw.fillStyle = "#000";
    draw.fillRect(0, 0, SIDE, SIDE);
    return canvas.toDataURL("image/png");
  }
}

function loaded(source) {
  return new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = source;
  });
}
