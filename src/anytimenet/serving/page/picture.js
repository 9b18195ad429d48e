// A picture that was chosen: its bytes for a server, its bitmap for the engine, and how it looks.

const MOST_BYTES = 1_000_000;
const MOST_SIDE = 1024;

export class Picture {
  /** Reads an image file. Throws in words if it is none. */
  static async of(blob, name) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
    } catch {
      throw new Error(`${name || "This file"} is no picture that this browser can read`);
    }
    const large = blob.size > MOST_BYTES || Math.max(bitmap.width, bitmap.height) > 4 * MOST_SIDE;
    return large ? Picture.#smaller(bitmap, name) : new Picture(blob, bitmap, name);
  }

  constructor(blob, bitmap, name) {
    Object.assign(this, { blob, bitmap, name, sample: null, truth: null });
  }

  /** A photograph of many megabytes: each move of the slider sends it again, so it is made smaller first. */
  static async #smaller(bitmap, name) {
    const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
    return new Picture(blob, await createImageBitmap(canvas), name);
  }

  /** Fills a square canvas with the centre of the picture; few pixels stay sharp squares. */
  draw(canvas) {
    const { width, height } = this.bitmap;
    const side = Math.min(width, height);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = side >= 64;
    context.imageSmoothingQuality = "high";
    const [left, top] = [(width - side) / 2, (height - side) / 2];
    context.drawImage(this.bitmap, left, top, side, side, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", `The picture: ${this.name || "without a name"}`);
  }
}

/** Calls `take(blob, name)` for whatever is dropped, pasted or chosen. */
export function listen({ drop, file, choose }, take) {
  choose.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) take(file.files[0], file.files[0].name);
    file.value = "";
  });
  const takeFrom = (items) => {
    const found = [...(items?.files ?? [])].find((one) => one.type.startsWith("image/") || !one.type);
    if (found) take(found, found.name);
    return Boolean(found);
  };
  document.addEventListener("paste", (event) => takeFrom(event.clipboardData) && event.preventDefault());
  let depth = 0;
  document.addEventListener("dragenter", () => drop.classList.toggle("over", ++depth > 0));
  document.addEventListener("dragleave", () => drop.classList.toggle("over", --depth > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    takeFrom(event.dataTransfer);
  });
}

/** The camera: the first press shows it, the second takes what it sees. Gives what turns it off. */
export function camera({ button, video }, take, complain) {
  if (!navigator.mediaDevices?.getUserMedia) {
    button.hidden = true;
    return () => {};
  }
  let stream = null;
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.hidden = true;
    button.textContent = "Camera";
  };
  button.addEventListener("click", async () => {
    if (!stream) {
      button.disabled = true; // while somebody thinks about whether to allow it, and until there is a picture
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        for (const track of stream.getTracks()) track.addEventListener("ended", stop);
        video.srcObject = stream;
        video.hidden = false;
        await video.play();
        button.textContent = "Take it";
      } catch (error) {
        stop();
        complain(`The camera cannot be used: ${error.message}`);
      } finally {
        button.disabled = false;
      }
      return;
    }
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    stop();
    take(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 }), "photograph.jpg");
  });
  return stop;
}
