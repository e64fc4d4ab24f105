// One picture in the grid of the dataset page: its crop and bucket drawn over it, and what an edit would change.
import { make, say } from "./common.js"

export const CARD = { width: 156, height: 196 }
const SIDE = 144

/** @typedef {import("./dataset_model.js").DatasetModel} DatasetModel */
/** @typedef {import("./dataset_model.js").Picture} Picture */
/** @typedef {[left: number, top: number, right: number, bottom: number]} Box */

/**
 * Show a picture of the dataset in a cell.
 * @param {HTMLElement} cell
 * @param {DatasetModel} model
 * @param {number} place
 * @param {boolean} whole whether the whole file is shown, or what is trained on
 */
export function fillCard(cell, model, place, whole) {
  const picture = model.pictures[place]
  if (!cell.firstChild) build(cell)
  const [name, line] = cell.querySelectorAll("span")
  const size = whole ? picture.size : viewOf(picture)
  const scale = SIDE / Math.max(...size)
  const frame = /** @type {HTMLElement} */ (cell.querySelector(".kiln-frame"))
  frame.style.width = `${Math.round(size[0] * scale)}px`
  frame.style.height = `${Math.round(size[1] * scale)}px`
  const [crop, bucket] = /** @type {NodeListOf<HTMLElement>} */ (frame.querySelectorAll("i"))
  draw(crop, whole && picture.crop ? picture.crop : null, size)
  draw(bucket, bucketBox(picture, whole), size)
  name.textContent = picture.name
  const tried = model.tried(place)
  line.textContent = tried ? differences(model.caption(place), tried) : `${picture.bucket[0]} × ${picture.bucket[1]}`
  cell.classList.toggle("kiln-tried", tried != null)
  cell.classList.toggle("kiln-edited", place in model.seen.captions)
  cell.classList.toggle("kiln-gone", !picture.mark)
  cell.setAttribute("aria-selected", String(model.selected.has(place)))
  cell.setAttribute("aria-label", `${picture.key}: ${captionText(model.caption(place))}`)
  cell.title = picture.mark ? picture.key : say("{name}: the file is gone, or is a link", { name: picture.key })
}

/** @param {HTMLElement} cell */
function build(cell) {
  const image = make("img", { alt: "", draggable: false })
  cell.append(
    make("div", { class: "kiln-thumb" },
      make("div", { class: "kiln-frame" }, image, make("i", { class: "kiln-crop" }), make("i", { class: "kiln-fit" }))),
    make("span", { class: "kiln-card-name" }),
    make("span", { class: "kiln-card-line" }),
  )
}

/**
 * A caption as text.
 * @param {import("./dataset_model.js").Caption} caption
 */
export function captionText(caption) {
  return caption.prose || caption.tags.join(", ")
}

/**
 * What came and went: `−hat +cap`.
 * @param {import("./dataset_model.js").Caption} before
 * @param {import("./dataset_model.js").Caption} after
 */
function differences(before, after) {
  if (before.prose || after.prose) return say("new text")
  const gone = before.tags.filter((tag) => !after.tags.includes(tag)).map((tag) => `−${tag}`)
  const come = after.tags.filter((tag) => !before.tags.includes(tag)).map((tag) => `+${tag}`)
  return [...gone, ...come].join(" ") || say("new order")
}

/** The size of what is trained on. @param {Picture} picture @returns {[number, number]} */
function viewOf({ size, crop }) {
  return crop ? [crop[2] - crop[0], crop[3] - crop[1]] : size
}

/**
 * What of the picture is left in its bucket, which cuts off at two sides.
 * @param {Picture} picture
 * @param {boolean} whole
 * @returns {Box | null} in pixels of what is shown
 */
function bucketBox(picture, whole) {
  const [width, height] = viewOf(picture)
  const scale = Math.max(picture.bucket[0] / width, picture.bucket[1] / height)
  const kept = [picture.bucket[0] / scale, picture.bucket[1] / scale]
  if (width - kept[0] < 1 && height - kept[1] < 1) return null
  const left = (whole && picture.crop ? picture.crop[0] : 0) + (width - kept[0]) / 2
  const top = (whole && picture.crop ? picture.crop[1] : 0) + (height - kept[1]) / 2
  return [left, top, left + kept[0], top + kept[1]]
}

/**
 * @param {HTMLElement} element
 * @param {Box | null} box
 * @param {[number, number]} size
 */
function draw(element, box, size) {
  element.hidden = !box
  if (!box) return
  const share = (/** @type {number} */ value, /** @type {number} */ of) => `${(100 * value) / of}%`
  Object.assign(element.style, {
    left: share(box[0], size[0]), top: share(box[1], size[1]),
    width: share(box[2] - box[0], size[0]), height: share(box[3] - box[1], size[1]),
  })
}
