(** JSON as values, and readers that either succeed or say what is wrong. *)

From Coq Require Import ZArith QArith List String Ascii Lia.
Import ListNotations.
Open Scope Z_scope.

(** A number is a finite double as a fraction, or [None] for NaN and the infinities. *)
Inductive json :=
| JNull
| JBool (value : bool)
| JNumber (value : option Q)
| JString (text : string)
| JList (items : list json)
| JObject (fields : list (string * json)).

(** [Invalid]: a claim is not proved. [Unreadable]: this is no certificate. *)
Inductive fault := Invalid | Unreadable.

Inductive outcome (A : Type) :=
| Ok (value : A)
| Fail (kind : fault) (why : string).
Arguments Ok {A} value.
Arguments Fail {A} kind why.

Definition bind {A B} (x : outcome A) (f : A -> outcome B) : outcome B :=
  match x with Ok a => f a | Fail kind why => Fail kind why end.

Declare Scope outcome_scope.
Notation "'let*' x ':=' e 'in' k" := (bind e (fun x => k)) (at level 200, x pattern, k at level 200) : outcome_scope.
Open Scope outcome_scope.

Definition need (condition : bool) (kind : fault) (why : string) : outcome unit :=
  if condition then Ok tt else Fail kind why.

Lemma bind_ok {A B} (x : outcome A) (f : A -> outcome B) b : bind x f = Ok b -> exists a, x = Ok a /\ f a = Ok b.
Proof. destruct x as [a|]; [eauto|discriminate]. Qed.

Lemma need_ok condition kind why u : need condition kind why = Ok u -> condition = true.
Proof. unfold need. destruct condition; [auto|discriminate]. Qed.

Fixpoint size_from {A} (n : Z) (l : list A) : Z :=
  match l with [] => n | _ :: rest => size_from (n + 1) rest end.
Definition size {A} (l : list A) : Z := size_from 0 l.

Lemma size_length {A} (l : list A) : size l = Z.of_nat (List.length l).
Proof.
  assert (H : forall n, size_from n l = n + Z.of_nat (List.length l)); [|exact (H 0)].
  induction l as [|a l IH]; intro n; cbn [size_from List.length]; [lia|]. rewrite IH. lia.
Qed.

Fixpoint map_onto {A B} (f : A -> outcome B) (done : list B) (l : list A) : outcome (list B) :=
  match l with
  | [] => Ok (rev' done)
  | a :: rest => let* b := f a in map_onto f (b :: done) rest
  end.
Definition map_all {A B} (f : A -> outcome B) : list A -> outcome (list B) := map_onto f [].

Definition as_list (v : json) (name : string) (least most : Z) : outcome (list json) :=
  match v with
  | JList items => let n := size items in
      let* _ := need ((least <=? n) && (n <=? most)) Unreadable name in Ok items
  | _ => Fail Unreadable name
  end.

Lemma as_list_ok v name least most items : as_list v name least most = Ok items -> least <= size items.
Proof.
  destruct v; try discriminate. cbn [as_list]. intro H. apply bind_ok in H as [u [H K]]. apply need_ok in H.
  injection K as <-. apply andb_prop in H as [H _]. now apply Z.leb_le.
Qed.

Fixpoint field (fields : list (string * json)) (key : string) : option json :=
  match fields with
  | [] => None
  | (k, v) :: rest => if String.eqb k key then Some v else field rest key
  end.

Definition get (fields : list (string * json)) (key : string) : json :=
  match field fields key with Some v => v | None => JNull end.

(** The fields of an object with exactly these keys. *)
Definition keys (v : json) (name : string) (expected : list string) : outcome (list (string * json)) :=
  match v with
  | JObject fields =>
      let all := forallb (fun key => match field fields key with Some _ => true | None => false end) expected in
      let* _ := need ((size fields =? size expected) && all) Unreadable name in Ok fields
  | _ => Fail Unreadable name
  end.

Definition number (v : json) (name : string) : outcome Q :=
  match v with JNumber (Some q) => Ok q | _ => Fail Unreadable name end.

Definition numbers (v : json) (name : string) (least most : Z) : outcome (list Q) :=
  let* items := as_list v name least most in map_all (fun v => number v name) items.

(** A whole number from 0 to [below - 1]. *)
Definition index (v : json) (name : string) (below : Z) : outcome Z :=
  let* q := number v name in
  let n := Qnum q / Zpos (Qden q) in
  let* _ := need ((Qnum q =? n * Zpos (Qden q)) && (0 <=? n) && (n <? below)) Unreadable name in Ok n.

Lemma index_ok v name below n : index v name below = Ok n -> 0 <= n < below.
Proof.
  unfold index. intro H. apply bind_ok in H as [q [_ H]]. apply bind_ok in H as [[] [H K]].
  apply need_ok in H. injection K as <-. apply andb_prop in H as [H L]. apply andb_prop in H as [_ H].
  apply Z.leb_le in H. apply Z.ltb_lt in L. lia.
Qed.

(** ** Fractions as text: digits, a slash, and digits that do not begin with 0 *)

Definition digit (c : ascii) : option Z :=
  let n := Z.of_N (N_of_ascii c) - 48 in if (0 <=? n) && (n <=? 9) then Some n else None.

Fixpoint whole (text : string) (so_far : Z) : option Z :=
  match text with
  | EmptyString => Some so_far
  | String c rest => match digit c with Some d => whole rest (10 * so_far + d) | None => None end
  end.

Fixpoint split (text before : string) : option (string * string) :=
  match text with
  | EmptyString => None
  | String c rest => if Ascii.eqb c "/" then Some (before, rest) else split rest (String c before)
  end.

Fixpoint reversed (text onto : string) : string :=
  match text with EmptyString => onto | String c rest => reversed rest (String c onto) end.

Fixpoint shorter (text : string) (than : Z) : bool :=
  match text with
  | EmptyString => 0 <? than
  | String _ rest => if 0 <? than then shorter rest (than - 1) else false
  end.

Definition quotient (text : string) : option (Z * Z) :=
  match split text EmptyString with
  | Some (above, String c rest) =>
      match above, digit c, whole (reversed above EmptyString) 0, whole (String c rest) 0 with
      | String _ _, Some d, Some n, Some below => if 0 <? d then Some (n, below) else None
      | _, _, _, _ => None
      end
  | _ => None
  end.
