(** The rules of a sweep over menus, as functions, and why each of them loses no choice that keeps the limits. *)

From Coq Require Import ZArith List Lia.
From Zetaplan Require Import Vectors.
Import ListNotations.
Open Scope Z_scope.

Definition menu := list vec.

(** [Sum menus t]: one option of each menu can be taken so that they add up to [t]. *)
Inductive Sum : list menu -> vec -> Prop :=
| sum_nil : Sum [] []
| sum_cons o m ms t : In o m -> Sum ms t -> Sum (m :: ms) (add o t).

(** A choice that keeps the limits, and one of which [s] is the part that is already taken. *)
Definition reaches (limits : vec) (ms : list menu) (s : vec) : Prop := exists t, Sum ms t /\ le (add s t) limits.

(** ** Weak duality *)

Definition least (p : vec) (m : menu) : Z :=
  match m with
  | [] => 0
  | o :: rest => fold_left (fun low o => Z.min low (dot p o)) rest (dot p o)
  end.

Definition leasts (p : vec) (ms : list menu) : Z := fold_right (fun m s => least p m + s) 0 ms.

Lemma least_le p m o : In o m -> least p m <= dot p o.
Proof.
  assert (fold : forall rest low, fold_left (fun low o => Z.min low (dot p o)) rest low <= low
    /\ forall o, In o rest -> fold_left (fun low o => Z.min low (dot p o)) rest low <= dot p o).
  { induction rest as [|a rest IH]; intro low; cbn; [split; [lia|contradiction]|].
    destruct (IH (Z.min low (dot p a))) as [H K]. split; [lia|]. intros b [->|Hb]; [lia|auto]. }
  destruct m as [|a rest]; [contradiction|]. destruct (fold rest (dot p a)). intros [<-|K]; cbn; auto.
Qed.

Lemma leasts_cons p m ms : leasts p (m :: ms) = least p m + leasts p ms.
Proof. reflexivity. Qed.

Theorem weak_duality p ms t : Sum ms t -> leasts p ms <= dot p t.
Proof.
  induction 1 as [|o m ms t H _ IH]; [rewrite dot_nil; cbn; lia|].
  rewrite leasts_cons, dot_add. pose proof (least_le p m o H). lia.
Qed.

Theorem dual_bound p limits ms t : nonneg p -> Sum ms t -> le t limits -> leasts p ms <= dot p limits.
Proof. intros good H K. pose proof (weak_duality p ms t H). pose proof (dot_le p good t limits K). lia. Qed.

(** ** Reduced costs: an option too far above the least of its menu is in no choice that keeps the limits *)

Definition spare (p limits : vec) (ms : list menu) : Z := dot p limits - leasts p ms.

Definition strike (p : vec) (room : Z) (m : menu) : menu :=
  let low := least p m in filter (fun o => dot p o - low <=? room) m.

Theorem reduced_costs p limits ms t :
  nonneg p -> Sum ms t -> le t limits -> Sum (map (strike p (spare p limits ms)) ms) t.
Proof.
  intros good H K. pose proof (dot_le p good t limits K) as L.
  assert (M : leasts p ms + (dot p t - leasts p ms) <= dot p limits) by lia.
  assert (room : dot p t - leasts p ms <= spare p limits ms) by (unfold spare; lia).
  clear K L M. revert room. generalize (spare p limits ms) as r.
  induction H as [|o m ms t H K IH]; intros r room; cbn [map]; [constructor|].
  rewrite leasts_cons, dot_add in room. pose proof (least_le p m o H). pose proof (weak_duality p ms t K).
  constructor; [|apply IH; lia].
  apply filter_In. split; [assumption|]. apply Z.leb_le. lia.
Qed.

Theorem no_choice_from_an_empty_menu ms t : In [] ms -> ~ Sum ms t.
Proof.
  intros H K. induction K as [|o m ms t K _ IH]; [contradiction|].
  destruct H as [->|H]; [contradiction|auto].
Qed.

(** ** Units: differences to the first options, rounded down, with the limits rounded down *)

Definition first (m : menu) : vec := hd [] m.
Definition firsts (ms : list menu) : vec := fold_right (fun m s => add (first m) s) [] ms.
Definition shift (u : vec) (m : menu) : menu := map (fun o => per (sub o (first m)) u) m.
Definition positive_units (u : vec) : Prop := Forall (fun x => 0 < x) u.

Lemma positive_unit u i : positive_units u -> 0 < nth i u 1.
Proof. intro H. revert i. induction H as [|x u Hx _ IH]; intros [|i]; cbn; auto; lia. Qed.

Lemma nonneg_units u : positive_units u -> nonneg u.
Proof. apply Forall_impl. intros. lia. Qed.

Theorem units u limits ms t : positive_units u -> Sum ms t -> le t limits ->
  exists t', Sum (map (shift u) ms) t' /\ le t' (per (sub limits (firsts ms)) u).
Proof.
  intros good H K.
  assert (S' : exists t', Sum (map (shift u) ms) t'
    /\ forall i, nth i u 1 * entry t' i <= entry t i - entry (firsts ms) i).
  { clear K. induction H as [|o m ms t H _ [t' [IH L]]].
    - exists []. split; [constructor|]. intro i. unfold firsts. cbn [fold_right]. rewrite !entry_nil. lia.
    - exists (add (per (sub o (first m)) u) t'). split.
      + constructor; [|assumption]. unfold shift. now apply (in_map (fun o => per (sub o (first m)) u)).
      + intro i. pose proof (positive_unit u i good) as P. specialize (L i).
        change (firsts (m :: ms)) with (add (first m) (firsts ms)).
        rewrite !entry_add, entry_per, entry_sub.
        pose proof (Z.mul_div_le (entry o i - entry (first m) i) _ P). lia. }
  destruct S' as [t' [S' L]]. exists t'. split; [assumption|]. intro i.
  rewrite entry_per, entry_sub. apply Z.div_le_lower_bound; [now apply positive_unit|].
  specialize (L i). specialize (K i). lia.
Qed.

(** ** Partial choices: all sums of one more menu, merged in order *)

Fixpoint union (a : list vec) : list vec -> list vec -> list vec :=
  fix inner (b acc : list vec) : list vec :=
    match a, b with
    | [], _ => rev_append acc b
    | _, [] => rev_append acc a
    | x :: a', y :: b' =>
        match lex x y with
        | Lt => union a' b (x :: acc)
        | Gt => inner b' (y :: acc)
        | Eq => union a' b' (x :: acc)
        end
    end.

Lemma union_In v a : forall b acc, In v a \/ In v b \/ In v acc -> In v (union a b acc).
Proof.
  assert (app : forall (x y : list vec), In v x \/ In v y -> In v (rev_append x y)).
  { intros x y H. rewrite rev_append_rev. apply in_or_app. rewrite <- in_rev. exact H. }
  induction a as [|x a IHa].
  - intros [|y b] acc [H|[H|H]]; cbn; try contradiction; apply app; auto.
  - induction b as [|y b IHb]; intros acc H.
    + cbn. apply (app acc (x :: a)). destruct H as [H|[H|H]]; auto. contradiction.
    + cbn. destruct (lex x y) eqn:C.
      * apply lex_eq in C. subst y. apply IHa. destruct H as [[H|H]|[[H|H]|H]]; subst; cbn; auto.
      * apply IHa. destruct H as [[H|H]|[[H|H]|H]]; subst; cbn; auto.
      * apply IHb. destruct H as [[H|H]|[[H|H]|H]]; subst; cbn; auto.
Qed.

Fixpoint push (x : list vec) (stack : list (option (list vec))) : list (option (list vec)) :=
  match stack with
  | [] => [Some x]
  | None :: rest => Some x :: rest
  | Some y :: rest => None :: push (union x y []) rest
  end.

Definition pour (stack : list (option (list vec))) : list vec :=
  fold_left (fun all part => match part with Some x => union x all [] | None => all end) stack [].

Fixpoint translated (o : vec) (states done : list vec) : list vec :=
  match states with
  | [] => rev' done
  | s :: rest => translated o rest (add s o :: done)
  end.

Definition extend (states : list vec) (m : menu) : list vec :=
  pour (fold_left (fun stack o => push (translated o states []) stack) m []).

Definition held (v : vec) (stack : list (option (list vec))) : Prop := exists l, In (Some l) stack /\ In v l.

Lemma push_new v x stack : In v x -> held v (push x stack).
Proof.
  revert x. induction stack as [|[y|] stack IH]; intros x H; cbn.
  - exists x. cbn. auto.
  - destruct (IH (union x y [])) as [l [L K]]; [apply union_In; auto|]. exists l. cbn. auto.
  - exists x. cbn. auto.
Qed.

Lemma push_old v x stack : held v stack -> held v (push x stack).
Proof.
  revert x. induction stack as [|[y|] stack IH]; intros x [l [L K]]; cbn in *; [contradiction| |].
  - destruct L as [L|L].
    + injection L as ->. destruct (push_new v (union x l []) stack) as [l' [L' K']]; [apply union_In; auto|].
      exists l'. cbn. auto.
    + destruct (IH (union x y [])) as [l' [L' K']]; [exists l; auto|]. exists l'. cbn. auto.
  - destruct L as [L|L]; [discriminate|]. exists l. cbn. auto.
Qed.

Lemma pour_held v stack : held v stack -> In v (pour stack).
Proof.
  unfold pour. assert (acc : forall stack all, In v all \/ held v stack -> In v (fold_left
    (fun all part => match part with Some x => union x all [] | None => all end) stack all)).
  { clear stack. induction stack as [|[x|] stack IH]; intros all [H|[l [L K]]]; cbn in *; try contradiction; auto.
    - apply IH. left. apply union_In. auto.
    - destruct L as [L|L]; [injection L as ->|]; apply IH.
      + left. apply union_In. auto.
      + right. exists l. auto.
    - destruct L as [L|L]; [discriminate|]. apply IH. right. exists l. auto. }
  auto.
Qed.

Lemma translated_In o s states : forall done, In s states \/ In (add s o) done -> In (add s o) (translated o states done).
Proof.
  induction states as [|a states IH]; intros done H; cbn.
  - unfold rev'. rewrite <- rev_alt, <- in_rev. destruct H; [contradiction|assumption].
  - apply IH. destruct H as [[->|H]|H]; cbn; auto.
Qed.

Lemma extend_In s o states m : In s states -> In o m -> In (add s o) (extend states m).
Proof.
  intros H K. apply pour_held.
  assert (acc : forall m stack, In o m \/ held (add s o) stack ->
    held (add s o) (fold_left (fun stack o => push (translated o states []) stack) m stack)).
  { clear m K. induction m as [|a m IH]; intros stack [K|K]; cbn; try contradiction; auto.
    - apply IH. destruct K as [->|K]; [right; apply push_new, translated_In; auto|auto].
    - apply IH. right. now apply push_old. }
  auto.
Qed.

(** ** Dominance and bounds *)

Fixpoint same_costs (a b : vec) : bool :=
  match a, b with
  | x :: (_ :: _) as a', y :: b' => (x =? y) && same_costs a' b'
  | _, _ => true
  end.

(** Under one budget as cheap or cheaper, under several at equal costs; in both cases losing no more. *)
Definition dominates (one : bool) (r s : vec) : bool := leb r s && (one || same_costs r s).

Definition within (goals : list (vec * Z)) (s : vec) : bool := forallb (fun pg => dot (fst pg) s <=? snd pg) goals.

Fixpoint prune (one : bool) (goals : list (vec * Z)) (kept sums : list vec) : list vec :=
  match sums with
  | [] => rev' kept
  | s :: rest =>
      if match kept with r :: _ => dominates one r s | [] => false end then prune one goals kept rest
      else prune one goals (if within goals s then s :: kept else kept) rest
  end.

Lemma prune_kept one goals r sums : forall kept, In r kept -> In r (prune one goals kept sums).
Proof.
  induction sums as [|a sums IH]; intros kept H; cbn.
  - unfold rev'. rewrite <- rev_alt, <- in_rev. assumption.
  - destruct (match kept with [] => _ | r :: _ => _ end); [auto|]. apply IH. destruct (within goals a); cbn; auto.
Qed.

Theorem dominance one goals s sums : forall kept, In s sums -> within goals s = true ->
  exists r, In r (prune one goals kept sums) /\ le r s.
Proof.
  induction sums as [|a sums IH]; intros kept H K; [contradiction|]. cbn.
  destruct (match kept with [] => _ | r :: _ => _ end) eqn:D.
  - destruct H as [->|H]; [|auto]. destruct kept as [|r kept]; [discriminate|].
    exists r. split; [apply prune_kept; cbn; auto|].
    apply andb_prop in D as [D _]. now apply leb_le.
  - destruct H as [->|H]; [|auto]. rewrite K.
    exists s. split; [apply prune_kept; cbn; auto|apply le_refl].
Qed.
