(** The proof of a choice: a tree of branches and leaves, walked node after node as the file lists them. *)

From Coq Require Import ZArith List String Lia FMapPositive.
From Zetaplan Require Import Vectors Sweep Json Leaf Claim.
Import ListNotations.
Open Scope Z_scope.
Open Scope outcome_scope.

(** Options with their numbers in the menu. A place of the tree: by menu, the options that are left there; a menu that
    is not in it is whole. *)
Definition numbered_menu := list (Z * vec).
Definition place := PositiveMap.t numbered_menu.

Fixpoint restrict (k : positive) (ms : list numbered_menu) (here : place) : list numbered_menu :=
  match ms with
  | [] => []
  | m :: rest =>
      (match PositiveMap.find k here with Some fewer => fewer | None => m end) :: restrict (Pos.succ k) rest here
  end.

Fixpoint at_place {A} (j k : positive) (l : list A) (default : A) : A :=
  match l with
  | [] => default
  | a :: rest => if Pos.eqb j k then a else at_place (Pos.succ j) k rest default
  end.

Definition key (z : Z) : positive := Z.to_pos (z + 1).

Definition set_of (l : list Z) : PositiveMap.t unit :=
  fold_left (fun s j => PositiveMap.add (key j) tt s) l (PositiveMap.empty unit).

Definition in_part (part : PositiveMap.t unit) (o : Z * vec) : bool := PositiveMap.mem (key (fst o)) part.

(** The children of node [number], each with one part of the options of menu [k]. *)
Fixpoint settle (count : Z) (number k : positive) (left : numbered_menu) (here : place)
  (parts : list (PositiveMap.t unit)) (children : list json) (places : PositiveMap.t place) (work : Z)
  : outcome (PositiveMap.t place * Z) :=
  match parts, children with
  | [], _ => Ok (places, work)
  | _, [] => Fail Unreadable "children"
  | part :: parts, child :: children =>
      let* z := index child "children" count in
      let* _ := need (Pos.ltb number (key z) && negb (PositiveMap.mem (key z) places)) Unreadable "proof" in
      let cardinals := PositiveMap.fold (fun _ _ n => n + 1) here 0 + PositiveMap.fold (fun _ _ n => n + 1) part 0 in
      let* work := toil work (10 * cardinals) in
      let there := PositiveMap.add k (filter (in_part part) left) here in
      settle count number k left here parts children (PositiveMap.add (key z) there places) work
  end.

Definition branch (ms : list numbered_menu) (count : Z) (number : positive) (node : json) (here : place)
  (places : PositiveMap.t place) (work : Z) : outcome (PositiveMap.t place * Z) :=
  let* fields := keys node "proof[]" ["decision"; "parts"; "children"]%string in
  let* decision := index (get fields "decision") "decision" (size ms) in
  let* rows := as_list (get fields "parts") "parts" 1 OPTIONS in
  let numbers := fun row =>
    let* items := as_list row "parts" 0 OPTIONS in map_all (fun v => index v "parts" OPTIONS) items in
  let* parts := map_all numbers rows in
  let parts := map set_of parts in
  let left := at_place 1 (key decision) (restrict 1 ms here) [] in
  let* _ := need (forallb (fun o => existsb (fun part => in_part part o) parts) left) Invalid "proof" in
  let* children := as_list (get fields "children") "children" (size parts) (size parts) in
  settle count number (key decision) left here parts children places work.

Fixpoint walk (limits : vec) (ms : list numbered_menu) (count : Z) (nodes : list json) (number : positive)
  (places : PositiveMap.t place) (work : Z) : outcome unit :=
  match nodes with
  | [] => Ok tt
  | node :: rest =>
      match PositiveMap.find number places with
      | None => Fail Unreadable "proof"
      | Some here =>
          match node with
          | JList _ =>
              let* work := sweep limits (map (map snd) (restrict 1 ms here)) node work in
              walk limits ms count rest (Pos.succ number) places work
          | _ =>
              let* (places, work) := branch ms count number node here places work in
              walk limits ms count rest (Pos.succ number) places work
          end
      end
  end.

(** ** Soundness *)

Definition fits (picks : list (Z * vec)) (ms : list numbered_menu) : Prop := Forall2 (fun o m => In o m) picks ms.

Lemma fits_Sum picks ms : fits picks ms -> Sum (map (map snd) ms) (total (map snd picks)).
Proof. induction 1; cbn; constructor; auto using in_map. Qed.

Lemma restrict_later ms : forall i j m here, (j < i)%positive ->
  restrict i ms (PositiveMap.add j m here) = restrict i ms here.
Proof.
  induction ms as [|a ms IH]; intros i j m here H; cbn; [reflexivity|].
  rewrite PositiveMap.gso by lia. now rewrite IH by lia.
Qed.

(** What a choice takes of menu [k] decides which children it is in. *)
Lemma restrict_add ms : forall picks i k here,
  fits picks (restrict i ms here) -> (i <= k)%positive -> Zpos k < Zpos i + Z.of_nat (List.length ms) ->
  exists o, In o (at_place i k (restrict i ms here) []) /\
  forall left, In o left -> fits picks (restrict i ms (PositiveMap.add k left here)).
Proof.
  induction ms as [|m ms IH]; intros picks i k here F L B; cbn [restrict List.length] in *; [lia|].
  inversion F as [|o m' picks' ms' O F']; subst. cbn [at_place]. destruct (Pos.eqb_spec i k) as [->|N].
  - exists o. split; [exact O|]. intros left I. rewrite PositiveMap.gss, restrict_later by lia.
    now constructor.
  - destruct (IH picks' (Pos.succ i) k here F') as [o' [I H]]; [lia|lia|].
    exists o'. split; [exact I|]. intros left I'. rewrite PositiveMap.gso by lia. constructor; [exact O|exact (H left I')].
Qed.

Lemma key_index z n : 0 <= z < n -> Zpos (key z) < Zpos 1 + n.
Proof. unfold key. intro H. rewrite Z2Pos.id; lia. Qed.

Definition kept (places places' : PositiveMap.t place) : Prop :=
  forall n h, PositiveMap.find n places = Some h -> PositiveMap.find n places' = Some h.

Definition bounded (places : PositiveMap.t place) (count : Z) : Prop :=
  forall n h, PositiveMap.find n places = Some h -> Zpos n < 1 + count.

Lemma settle_sound count number k left here parts : forall children places work places' work',
  settle count number k left here parts children places work = Ok (places', work') -> bounded places count ->
  kept places places' /\ bounded places' count /\
  forall part, In part parts -> exists n, (number < n)%positive /\
    PositiveMap.find n places' = Some (PositiveMap.add k (filter (in_part part) left) here).
Proof.
  induction parts as [|part parts IH]; intros children places work places' work' E B; cbn in E.
  - injection E as <- _. split; [intros n h; auto|split; [exact B|contradiction]].
  - destruct children as [|child children]; [discriminate|].
    apply bind_ok in E as [z [Z0 E]]. apply bind_ok in E as [[] [N E]]. apply bind_ok in E as [w [_ E]].
    apply need_ok in N. apply andb_prop in N as [L M]. apply Pos.ltb_lt in L.
    assert (free : PositiveMap.find (key z) places = None).
    { rewrite PositiveMap.mem_find in M. now destruct (PositiveMap.find (key z) places). }
    apply index_ok, key_index in Z0. apply IH in E as [K [B' P]].
    + assert (K' : kept places places').
      { intros n h H. apply K. rewrite PositiveMap.gso; [exact H|]. intros ->. congruence. }
      split; [exact K'|split; [exact B'|]]. intros p [<-|I]; [|auto].
      exists (key z). split; [exact L|]. apply K. now rewrite PositiveMap.gss.
    + intros n h H. destruct (Pos.eq_dec n (key z)) as [->|D]; [exact Z0|].
      rewrite PositiveMap.gso in H by exact D. eauto.
Qed.

Lemma branch_sound ms count number node here places work places' work' picks :
  branch ms count number node here places work = Ok (places', work') -> bounded places count ->
  kept places places' /\ bounded places' count /\
  (fits picks (restrict 1 ms here) ->
   exists n h, (number < n)%positive /\ PositiveMap.find n places' = Some h /\ fits picks (restrict 1 ms h)).
Proof.
  unfold branch. intros E B. apply bind_ok in E as [fields [_ E]]. apply bind_ok in E as [k [D E]].
  apply bind_ok in E as [rows [_ E]]. apply bind_ok in E as [parts [_ E]]. apply bind_ok in E as [[] [C E]].
  apply bind_ok in E as [children [_ E]]. apply need_ok in C.
  destruct (settle_sound _ _ _ _ _ _ _ _ _ _ _ E B) as [K [B' P]].
  split; [exact K|split; [exact B'|]]. intro F. apply index_ok in D. rewrite size_length in D.
  destruct (restrict_add ms picks 1 (key k) here F) as [o [I H]]; [lia|now apply key_index|].
  rewrite forallb_forall in C. specialize (C o I). apply existsb_exists in C as [part [Q I']].
  destruct (P part Q) as [n [L G]]. exists n. eexists. split; [exact L|split; [exact G|]].
  apply H, filter_In. auto.
Qed.

Theorem walk_sound limits ms count picks : le (total (map snd picks)) limits -> forall nodes number places work,
  walk limits ms count nodes number places work = Ok tt -> bounded places count ->
  count + 1 = Zpos number + Z.of_nat (List.length nodes) ->
  ~ exists n h, (number <= n)%positive /\ PositiveMap.find n places = Some h /\ fits picks (restrict 1 ms h).
Proof.
  intro good. induction nodes as [|node nodes IH]; intros number places work E B C [n [h [L [G F]]]].
  - cbn [List.length] in C. apply B in G. lia.
  - cbn [walk List.length] in *. destruct (PositiveMap.find number places) as [here|] eqn:W; [|discriminate].
    assert (other : forall places' work', walk limits ms count nodes (Pos.succ number) places' work' = Ok tt ->
      kept places places' -> bounded places' count -> (number < n)%positive -> False).
    { intros places' work' E' K B' N. eapply IH; [exact E'|exact B'|lia|].
      exists n, h. split; [lia|]. split; [now apply K|exact F]. }
    destruct (Pos.eq_dec n number) as [->|N].
    + rewrite W in G. injection G as ->.
      assert (go : match node with JList _ => True | _ => exists places' work',
        branch ms count number node h places work = Ok (places', work')
        /\ walk limits ms count nodes (Pos.succ number) places' work' = Ok tt end).
      { destruct node; auto; apply bind_ok in E as [[places' work'] [X Y]]; eauto. }
      destruct node; lazymatch type of go with True => idtac | _ =>
        destruct go as [places' [work' [X Y]]];
        destruct (branch_sound _ _ _ _ _ _ _ _ _ picks X B) as [_ [B' P]];
        destruct (P F) as [n' [h' [L' [G' F']]]]; eapply IH; [exact Y|exact B'|lia|];
        exists n', h'; split; [lia|auto] end.
      apply bind_ok in E as [w [S' _]]. eapply sweep_sound; [exact S'|apply fits_Sum, F|exact good].
    + assert (N' : (number < n)%positive) by lia.
      destruct node; apply bind_ok in E as [[places' work'] [X Y]] || apply bind_ok in E as [w [X Y]];
        try (destruct (branch_sound _ _ _ _ _ _ _ _ _ picks X B) as [K [B' _]]; eauto).
      eapply other; [exact Y|intros ? ?; auto|exact B|exact N'].
Qed.
