(* Text to JSON values. This file is not proved: it is trusted to read a file as Python's json module does.
   An object with a key that is there twice is null; so is no checker's input. Numbers are the nearest doubles. *)

open Proved

exception Fault of string

let depth_limit = 900

let whole = Big_int_Z.big_int_of_int

(* The fraction in lowest terms that a double is; None for NaN and the infinities. *)
let fraction (value : float) : q option =
  match classify_float value with
  | FP_nan | FP_infinite -> None
  | FP_zero -> Some { qnum = whole 0; qden = whole 1 }
  | FP_normal | FP_subnormal ->
      let mantissa, exponent = Float.frexp value in
      let rec odd m e = if m land 1 = 0 then odd (m asr 1) (e + 1) else (m, e) in
      let m, e = odd (int_of_float (Float.ldexp mantissa 53)) (exponent - 53) in
      let power n = Big_int_Z.shift_left_big_int (whole 1) n in
      if e >= 0 then Some { qnum = Big_int_Z.mult_big_int (whole m) (power e); qden = whole 1 }
      else Some { qnum = whole m; qden = power (-e) }

let characters text = List.init (String.length text) (String.get text)

let fail position what = raise (Fault (Printf.sprintf "%s at byte %d" what position))

(* Every byte of the text belongs to a character of UTF-8, in its shortest form and no surrogate. *)
let check_encoding text =
  let size = String.length text in
  let byte i = if i < size then Char.code text.[i] else 0 in
  let within low high i = byte i >= low && byte i <= high in
  let tail i = within 0x80 0xBF i in
  let rec go i =
    if i < size then
      let b = byte i in
      if b < 0x80 then go (i + 1)
      else if b >= 0xC2 && b <= 0xDF && tail (i + 1) then go (i + 2)
      else if b = 0xE0 && within 0xA0 0xBF (i + 1) && tail (i + 2) then go (i + 3)
      else if b = 0xED && within 0x80 0x9F (i + 1) && tail (i + 2) then go (i + 3)
      else if b >= 0xE1 && b <= 0xEF && b <> 0xED && tail (i + 1) && tail (i + 2) then go (i + 3)
      else if b = 0xF0 && within 0x90 0xBF (i + 1) && tail (i + 2) && tail (i + 3) then go (i + 4)
      else if b >= 0xF1 && b <= 0xF3 && tail (i + 1) && tail (i + 2) && tail (i + 3) then go (i + 4)
      else if b = 0xF4 && within 0x80 0x8F (i + 1) && tail (i + 2) && tail (i + 3) then go (i + 4)
      else fail i "invalid UTF-8"
  in
  go 0

(* A code point, or one half of a pair that has no other half, as three or four bytes. *)
let add_code buffer code =
  let add c = Buffer.add_char buffer (Char.chr c) in
  let tail shift = add (0x80 lor ((code lsr shift) land 0x3F)) in
  if code < 0x80 then add code
  else if code < 0x800 then (add (0xC0 lor (code lsr 6)); tail 0)
  else if code < 0x10000 then (add (0xE0 lor (code lsr 12)); tail 6; tail 0)
  else (add (0xF0 lor (code lsr 18)); tail 12; tail 6; tail 0)

let parse (text : string) : json =
  check_encoding text;
  let size = String.length text in
  let at = ref 0 in
  let peek () = if !at < size then text.[!at] else '\000' in
  let space () = while !at < size && (match text.[!at] with ' ' | '\t' | '\n' | '\r' -> true | _ -> false) do incr at done in
  let expect c = if !at < size && text.[!at] = c then incr at else fail !at (Printf.sprintf "expected %c" c) in
  let literal word value =
    let n = String.length word in
    if !at + n <= size && String.sub text !at n = word then (at := !at + n; value) else fail !at "expected a value"
  in
  let digits () = let from = !at in while (match peek () with '0' .. '9' -> true | _ -> false) do incr at done; !at > from in
  let number () =
    let from = !at in
    if peek () = '-' then incr at;
    if peek () = 'I' then literal "Infinity" (JNumber None)
    else begin
      if peek () = '0' then incr at else if not (digits ()) then fail !at "expected a digit";
      if peek () = '.' then (incr at; if not (digits ()) then fail !at "expected a digit");
      if peek () = 'e' || peek () = 'E' then begin
        incr at;
        if peek () = '+' || peek () = '-' then incr at;
        if not (digits ()) then fail !at "expected a digit"
      end;
      JNumber (fraction (float_of_string (String.sub text from (!at - from))))
    end
  in
  let hexadecimal () =
    let digit c = match c with
      | '0' .. '9' -> Char.code c - 48 | 'a' .. 'f' -> Char.code c - 87 | 'A' .. 'F' -> Char.code c - 55
      | _ -> fail !at "expected a hexadecimal digit" in
    let value = ref 0 in
    for _ = 1 to 4 do value := (16 * !value) + digit (peek ()); incr at done;
    !value
  in
  let escape buffer =
    let c = peek () in
    incr at;
    match c with
    | '"' | '\\' | '/' -> Buffer.add_char buffer c
    | 'b' -> Buffer.add_char buffer '\b' | 'f' -> Buffer.add_char buffer '\012'
    | 'n' -> Buffer.add_char buffer '\n' | 'r' -> Buffer.add_char buffer '\r' | 't' -> Buffer.add_char buffer '\t'
    | 'u' ->
        let high = hexadecimal () in
        let paired = high land 0xFC00 = 0xD800 && !at + 1 < size && text.[!at] = '\\' && text.[!at + 1] = 'u' in
        if not paired then add_code buffer high
        else begin
          let back = !at in
          at := !at + 2;
          let low = hexadecimal () in
          if low land 0xFC00 = 0xDC00 then add_code buffer (0x10000 + ((high land 0x3FF) lsl 10) + (low land 0x3FF))
          else (at := back; add_code buffer high)
        end
    | _ -> fail !at "unknown escape"
  in
  let string () =
    expect '"';
    let buffer = Buffer.create 16 in
    let rec go () =
      if !at >= size then fail !at "unterminated string";
      let c = text.[!at] in
      incr at;
      if c = '\\' then (escape buffer; go ())
      else if c < ' ' then fail !at "control character in a string"
      else if c <> '"' then (Buffer.add_char buffer c; go ())
    in
    go ();
    Buffer.contents buffer
  in
  let rec value depth =
    if depth > depth_limit then fail !at "nested too deeply";
    match peek () with
    | '"' -> JString (characters (string ()))
    | '[' -> JList (items depth)
    | '{' -> fields depth
    | 'n' -> literal "null" JNull | 't' -> literal "true" (JBool true) | 'f' -> literal "false" (JBool false)
    | 'N' -> literal "NaN" (JNumber None) | 'I' -> literal "Infinity" (JNumber None)
    | _ -> number ()
  and items depth =
    incr at; space ();
    if peek () = ']' then (incr at; [])
    else begin
      let rec go found =
        let found = (space (); value (depth + 1)) :: found in
        space ();
        if peek () = ',' then (incr at; go found) else (expect ']'; List.rev found)
      in
      go []
    end
  and fields depth =
    incr at; space ();
    let seen = Hashtbl.create 8 in
    let pair () =
      space ();
      let key = string () in
      space (); expect ':'; space ();
      let found = value (depth + 1) in
      let fresh = not (Hashtbl.mem seen key) in
      Hashtbl.replace seen key ();
      ((characters key, found), fresh)
    in
    if peek () = '}' then (incr at; JObject [])
    else begin
      let rec go found unique =
        let one, fresh = pair () in
        space ();
        if peek () = ',' then (incr at; go (one :: found) (unique && fresh))
        else (expect '}'; if unique && fresh then JObject (List.rev (one :: found)) else JNull)
      in
      go [] true
    end
  in
  space ();
  let found = value 0 in
  space ();
  if !at < size then fail !at "text after the value";
  found
